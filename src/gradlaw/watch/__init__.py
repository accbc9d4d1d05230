"""Statistics of the gradients of a training run, while it trains."""
