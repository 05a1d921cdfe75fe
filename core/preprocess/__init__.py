"""Steps on a frame that every detector shares: calibration, and the balance of a colour mosaic."""
