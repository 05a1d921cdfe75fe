"""Run the work on frames in worker processes or on Dask workers, with time limits."""
