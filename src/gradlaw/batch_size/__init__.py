"""The critical batch size, by several methods, and when not to trust it."""
