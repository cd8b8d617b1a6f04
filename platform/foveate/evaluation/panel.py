"""The viewers of an evaluation, and their targets.

Shapes: ``B`` viewers, ``T`` targets of all of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.data.queries import queries_of
from foveate.data.split import Stage


@dataclass(frozen=True)
class Panel:
    """The viewers of a stage who have a target, as they stood at the cut.

    Parameters
    ----------
    queries
        ``B`` of them.
    offsets
        ``[B + 1]`` int64: viewer ``b`` owns the targets ``offsets[b]:offsets[b + 1]``.
    targets
        ``[T]`` int32 item codes.
    reachable
        ``[T]`` bool: False where no model can answer right, for the item is not known or not yet out at the cut.
    """

    queries: Sequence[Query]
    offsets: NDArray[np.int64]
    targets: NDArray[np.int32]
    reachable: NDArray[np.bool_]

    def batches(self, size: int) -> Iterator[Panel]:
        """Yield the viewers in parts of up to ``size``, in order."""
        for start in range(0, len(self.queries), size):
            end = min(start + size, len(self.queries))
            rows = slice(int(self.offsets[start]), int(self.offsets[end]))
            offsets = self.offsets[start : end + 1] - self.offsets[start]
            yield Panel(self.queries[start:end], offsets, self.targets[rows], self.reachable[rows])

    def viewer_of_target(self) -> NDArray[np.int64]:
        """``[T]``: whose target each is."""
        return np.repeat(np.arange(len(self.queries)), np.diff(self.offsets))

    def of(self, viewer: int) -> slice:
        """Return where one viewer's targets lie."""
        return slice(int(self.offsets[viewer]), int(self.offsets[viewer + 1]))


def request_seed(query: Query, seed: int) -> int:
    """Return the seed of a viewer's request: what rules draw differs from viewer to viewer, not from run to run."""
    return zlib.crc32(f"{seed}/{query.user_id}".encode())


def panel_of(stage: Stage, catalog: Catalog, *, most: int = 0, seed: int = 0) -> Panel:
    """Ask for every viewer of the stage who has a target, or for ``most`` of them, drawn by ``seed``.

    Items beyond ``catalog`` (newer than the model) vanish from the histories; as targets they stay, to be missed.
    """
    users = stage.targets.users()
    if 0 < most < len(users):
        users = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
    history = stage.history.take(stage.history.item < len(catalog))
    queries = queries_of(replace(history, n_items=len(catalog)), users, catalog, stage.now)
    counts = np.diff(stage.targets.offsets)[users]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    targets = [stage.targets.of(user) for user in users.tolist()]
    reachable = [
        (own < len(catalog)) & ~np.isin(own, query.exclude) for own, query in zip(targets, queries, strict=True)
    ]
    return Panel(queries, offsets, np.concatenate(targets), np.concatenate(reachable))
