"""The Gram matrix G G^T, with and without the gradients."""
