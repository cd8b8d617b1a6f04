"""Memory of a bundle, by what a process loads of it, and of a viewer in the store."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from foveate.bundle import Bundle
from foveate.state.base import ViewerEvent
from foveate.state.sqlite.store import SqliteState
from foveate_capacity.costs import Memory
from foveate_capacity.processes import resident
from foveate_serve.bundles.loading import load_all, load_catalogue, load_ranker, load_sources
from foveate_serve.names import INGRESS, RANKER, RETRIEVER

ALL: Final = "all"
_LOADS: Final[Mapping[str, Callable[[Path], Bundle]]] = {
    ALL: load_all,
    INGRESS: load_catalogue,
    RETRIEVER: load_sources,
    RANKER: load_ranker,
}
_COPIES: Final = 2
"""Copies that are loaded beside the first, which brings the libraries' own memory along."""


_VIEWERS: Final = 400
EVENTS: Final = 50
"""Events of each viewer whose histories are weighed."""


def measure_memory(bundle: Bundle, per_request: float) -> Memory:
    """Load the bundle as each kind of replica does, several times in a process of its own, and see what it grows by.

    The larger its catalogue, the less does what is not the videos' blur the figure. ``per_request`` was measured where
    slates were recorded.
    """
    items = len(bundle.model.catalog)
    # Processes that are forked would share memory, and hide it.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        grown = {name: pool.submit(_grown, name, bundle.path).result() for name in _LOADS}
    vectors = bundle.model.item_vectors
    return Memory(
        per_replica=max(base for base, _ in grown.values()),
        per_item={name: more / items for name, (_, more) in grown.items()},
        width=0 if vectors is None else int(vectors.shape[1]),
        per_viewer=_viewer(bundle),
        per_request=per_request,
    )


def _grown(name: str, path: Path) -> tuple[int, int]:
    """Return the bytes of this process with one copy less that copy's own, and those of a copy."""
    held = [_LOADS[name](path)]
    gc.collect()
    before = resident(os.getpid())
    held += [_LOADS[name](path) for _ in range(_COPIES)]
    gc.collect()
    each = max(0, resident(os.getpid()) - before) // _COPIES
    del held
    return max(0, before - each), each


def _viewer(bundle: Bundle) -> float:
    """Return the bytes on disk of a viewer with 50 events."""
    ids, kind = bundle.model.catalog.items.ids, bundle.model.positive_kinds[0]
    with TemporaryDirectory(prefix="foveate-") as scratch:
        path = Path(scratch) / "state.sqlite"
        with SqliteState(path) as state:
            empty = size_of(path)
            for viewer in range(_VIEWERS):
                seen = (ids[(viewer * EVENTS + turn) % len(ids)] for turn in range(EVENTS))
                state.append([ViewerEvent(f"viewer {viewer}", one, kind, 1.0, turn) for turn, one in enumerate(seen)])
            return (size_of(path) - empty) / _VIEWERS


def size_of(path: Path) -> int:
    """Return the bytes of a store with its log, of which the last part may not be in the file yet."""
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
