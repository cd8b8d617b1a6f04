"""Ids outside, int32 codes inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

UNKNOWN = -1
"""The code of an id that the vocabulary does not hold."""

_MANY = 10_000
"""From so many ids on a join is faster than looking up each."""


class Vocabulary:
    """An append-only list of ids; the code of an id is its position and never changes.

    Parameters
    ----------
    ids
        Distinct ids, kept byte for byte, in the order of their codes.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids: list[str] = []
        self._codes: dict[str, int] = {}
        self.extend(ids)

    def extend(self, ids: Iterable[str]) -> None:
        """Append the ids that are not yet held, in the order given."""
        for id_ in ids:
            if id_ not in self._codes:
                self._codes[id_] = len(self._ids)
                self._ids.append(id_)

    def encode(self, ids: Sequence[str] | pl.Series) -> NDArray[np.int32]:
        """Return the codes of ``ids``, ``UNKNOWN`` where an id is not held."""
        if isinstance(ids, pl.Series) and len(ids) > _MANY:
            return self._encode_many(ids)
        get = self._codes.get
        return np.fromiter((get(id_, UNKNOWN) for id_ in ids), dtype=np.int32, count=len(ids))

    def _encode_many(self, ids: pl.Series) -> NDArray[np.int32]:
        known = pl.DataFrame({"id": self._ids}, schema={"id": pl.String}).with_row_index("code")
        joined = ids.alias("id").to_frame().join(known, on="id", how="left", maintain_order="left")
        return joined["code"].cast(pl.Int32).fill_null(UNKNOWN).to_numpy()

    def decode(self, codes: NDArray[np.int32]) -> list[str]:
        """Return the ids of ``codes``."""
        return [self._ids[code] for code in codes.tolist()]

    def code(self, id_: str) -> int:
        """Return the code of one id, ``UNKNOWN`` where it is not held."""
        return self._codes.get(id_, UNKNOWN)

    @property
    def ids(self) -> Sequence[str]:
        """The ids in the order of their codes."""
        return self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._codes
