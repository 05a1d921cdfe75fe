"""Run detectors over data sets: compare, tune, inject, and estimate purity without truth."""
