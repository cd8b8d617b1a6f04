"""Video recommendation by attention: read a log, train, load, ask, evaluate. ``docs/python.md`` has it on one page.

Importing this is quick: torch and all else come with the first name that is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from foveate import _moved
from foveate._version import __version__

if TYPE_CHECKING:
    from foveate.api.evaluating import evaluate
    from foveate.api.reading import append, read, simulate
    from foveate.api.recommender import Recommender, load
    from foveate.api.training import train
    from foveate.bundle import Bundle
    from foveate.core.errors import FoveateError
    from foveate.data.dataset import Dataset
    from foveate.recommend.recipe import Recipe
    from foveate.served_log.erase import erase_viewer
    from foveate.served_log.export import export_log

__all__ = [
    "Bundle",
    "Dataset",
    "FoveateError",
    "Recipe",
    "Recommender",
    "__version__",
    "append",
    "erase_viewer",
    "evaluate",
    "export_log",
    "load",
    "read",
    "simulate",
    "train",
]

_WHERE = {
    "Bundle": "foveate.bundle",
    "Dataset": "foveate.data.dataset",
    "FoveateError": "foveate.core.errors",
    "Recipe": "foveate.recommend.recipe",
    "Recommender": "foveate.api.recommender",
    "append": "foveate.api.reading",
    "erase_viewer": "foveate.served_log.erase",
    "evaluate": "foveate.api.evaluating",
    "export_log": "foveate.served_log.export",
    "load": "foveate.api.recommender",
    "read": "foveate.api.reading",
    "simulate": "foveate.api.reading",
    "train": "foveate.api.training",
}

_moved.install()
_moved.keep_public(__name__)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'foveate' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
