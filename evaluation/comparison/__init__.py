"""Paired comparison of two detectors, and the regression gate."""
