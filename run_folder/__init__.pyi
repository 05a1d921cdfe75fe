from .read_run import Run as Run
from .read_run import load_run as load_run
