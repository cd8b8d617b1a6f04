"""Capacity of a service: measured costs, a plan made from them, and a simulator of the graph."""

import foveate as _foveate  # noqa: F401  (old names of modules)
