"""Figures drawn from the tables of a run."""
