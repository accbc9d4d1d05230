"""Curvature matrices as products with vectors."""
