"""Detectors built on SEP, the library form of SExtractor."""
