"""Sweeps with Ray Tune: ``sweep.py`` is one sweep from start to end, ``trials/trial.py`` one trial in it."""

import foveate as _foveate  # noqa: F401  (old names of modules)
