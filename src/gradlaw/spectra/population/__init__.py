"""The spectrum of the covariance itself, of which T gradients in n dimensions show a spread and cut sample."""
