"""Where the exponent of the gradient covariance comes from: a design, what it measured, and the rules that decide."""
