"""Where frames are processed: worker processes, Dask workers, time limits."""
