"""Measurements common to all detectors: background, aperture photometry, pixel features."""
