"""Checks of the facts of a header against the pixels of the frame."""
