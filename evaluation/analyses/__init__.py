"""Optional analyses: one table per detector, operating point and frame group."""
