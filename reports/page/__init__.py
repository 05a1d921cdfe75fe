"""The HTML page, its gallery and frame viewer, and its PDF."""
