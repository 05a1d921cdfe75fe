"""Readers and writers of single table formats, and the conversion of their columns."""
