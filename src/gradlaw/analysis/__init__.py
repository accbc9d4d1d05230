"""All statistics of one run, as data."""
