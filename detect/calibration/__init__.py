"""Fit the score calibration and the re-scoring network on simulated frames."""
