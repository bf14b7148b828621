"""Floor: resumable store, sweep over chunks, executors (local, Dask)."""
