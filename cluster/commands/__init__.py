"""The commands, a module each: what is done once the settings are read. `cluster.command` lists them.

They import what they need within ``main``, so that help and dry runs, which import them, are there at once.
"""
