"""Images too large for memory, read and merged section by section."""
