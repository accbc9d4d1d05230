"""How the gradients of minibatches are computed, and how that is proven."""
