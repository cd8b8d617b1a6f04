"""Video recommendation by attention."""

from __future__ import annotations

from foveate import _moved
from foveate._version import __version__

__all__ = ["__version__"]

_moved.install()
