"""Scoring of the detectors of a run."""
