"""The statistics of a record, in their order; what could not be computed is null in the log."""

STATISTICS = (
    # The gradient of this step, across the dimensions of a layer.
    *("n", "norm", "zero_share", "non_finite_share", "largest", "largest_share", "tail_share"),
    *("k", "degenerate", "s", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated", "gaussian_p_value"),
    # What moved.
    *("weight_norm", "update_norm", "update_ratio", "update_ratio_error", "update_cosine", "update_cosine_error"),
    *("gradient_cosine", "gradient_cosine_error", "watched_cosine", "watched_cosine_error"),
)
