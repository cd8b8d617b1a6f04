"""The front door: what ``import foveate`` offers, one verb a file. Synchronous, for scripts and notebooks.

The command line calls the same functions.
"""
