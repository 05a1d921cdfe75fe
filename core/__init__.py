"""Frames, catalogues and data sets, their files, and measurements common to all detectors.

Positions are 0-based with integers at pixel centres, x the column and y the
row; 1-based positions of files are converted when they are read or written.
"""

import lazy_loader

# The names, and the module of each, are in `__init__.pyi`; a module is loaded with its first name.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
