"""The source catalogue partitioned on the sky: few rows in this process, more of them by `hats-import` on Dask."""
