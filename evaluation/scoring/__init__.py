"""Counts, scores, threshold sweeps and depth of one detector."""
