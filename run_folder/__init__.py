"""The run folder: its format, and the only code that reads and writes it."""

import lazy_loader

# The names, and the module of each, are in `__init__.pyi`; a module is loaded with its first name.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
