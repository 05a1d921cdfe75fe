"""Measurements made alike for every detector: background, aperture photometry, pixel features."""
