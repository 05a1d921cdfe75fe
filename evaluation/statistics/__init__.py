"""Statistics that know nothing of detectors: intervals, logistic fits, paired tests."""
