"""A log on its way to disk, cut so that each viewer's rows come back together: logs may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.schema import USER_ID

N_BUCKETS = 64
"""Viewers are dealt to so many buckets by a hash of their id."""

ROWS_A_PART = 1_000_000
"""Neighbouring buckets are joined to a part until it holds about so many rows."""

_SEED = 17


class Spool:
    """Takes pieces of a log in any order and gives back parts, each viewer whole in one of them.

    Parameters
    ----------
    folder
        An empty folder for the pieces; the caller removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pieces: list[tuple[Path, NDArray[np.int64]]] = []

    def put(self, piece: pl.DataFrame) -> None:
        """Write one piece, its rows sorted by bucket."""
        if not piece.height:
            return
        # A fixed seed: the same log falls into the same parts in every process.
        hashed = piece[USER_ID].hash(_SEED).to_numpy()
        bucket = (hashed % N_BUCKETS).astype(np.uint8)
        path = self._folder / f"{len(self._pieces):06d}.arrow"
        piece[np.argsort(bucket, kind="stable")].write_ipc(path, compression="uncompressed")
        counts = np.bincount(bucket, minlength=N_BUCKETS)
        self._pieces.append((path, np.concatenate([[0], np.cumsum(counts)])))

    def __len__(self) -> int:
        return sum(int(edges[-1]) for _, edges in self._pieces)

    def parts(self) -> Iterator[pl.DataFrame]:
        """Yield the parts, each with the columns that its pieces have."""
        frames = [pl.read_ipc(path) for path, _ in self._pieces]
        for first, last in self._groups():
            slices = [
                frame.slice(int(edges[first]), int(edges[last] - edges[first]))
                for frame, (_, edges) in zip(frames, self._pieces, strict=True)
            ]
            yield pl.concat([piece for piece in slices if piece.height], how="diagonal")

    def _groups(self) -> Iterator[tuple[int, int]]:
        sizes = sum((np.diff(edges) for _, edges in self._pieces), start=np.zeros(N_BUCKETS, dtype=np.int64))
        first, rows = 0, 0
        for bucket, size in enumerate(sizes.tolist()):
            if rows and rows + size > ROWS_A_PART:
                yield first, bucket
                first, rows = bucket, 0
            rows += size
        if rows:
            yield first, N_BUCKETS
