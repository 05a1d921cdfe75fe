"""Sections of the optional analyses of a run."""
