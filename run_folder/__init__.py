"""The run folder: its format, and the only code that reads and writes it."""

from skyduel.run_folder.read_run import Run, load_run

__all__ = ["Run", "load_run"]
