"""What spreads the work: one file an engine, each a `cluster.engines.base.Engine`, chosen in `cluster.engines.choose`.

To add one: a class in a file of its own, and its line in `cluster.engines.choose.ENGINES`.
"""
