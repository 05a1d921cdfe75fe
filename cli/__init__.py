"""The front door: the command line, the runner and the run folder."""
