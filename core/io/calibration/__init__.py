"""Calibration frames of a data set: which belong to a frame, and their masters."""
