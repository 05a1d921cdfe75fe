"""Figures as small SVG, by the part of matplotlib's interface that the figures use."""
