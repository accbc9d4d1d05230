"""Where a gradient history is kept, and in which precision."""
