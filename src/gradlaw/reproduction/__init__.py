"""Reproducing a paper that is declared as data: what to measure, and the numbers beside the published ones."""
