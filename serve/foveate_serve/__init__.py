"""Serving over HTTP with Ray Serve."""

import foveate as _foveate  # noqa: F401  (old names of modules)
