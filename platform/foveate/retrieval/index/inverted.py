"""Inverted lists: vectors lie in the list of their nearest centre, and a search reads the lists of the best centres.

Shapes: ``I`` items, ``D`` width, ``L`` lists, ``K`` items that are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.retrieval.index.base import Arrays, IndexConfig, VectorIndex, Vectors

if TYPE_CHECKING:
    import faiss

_ROUNDS, _A_LIST = 10, 64
"""Rounds of k-means, and vectors of each list that it learns from: more of either hardly moves recall."""
_FEW = 1000
"""As many excluded items are looked up beside and dropped; more are told to the index."""


class InvertedLists(VectorIndex):
    """Faiss's inverted file of whole vectors.

    Parameters
    ----------
    item_ID
        What is searched.
    centre_LD
        The centres of the lists.
    list_I
        Which list each item lies in.
    """

    def __init__(self, item_ID: Vectors, centre_LD: Vectors, list_I: NDArray[np.int64], probes: int) -> None:
        import faiss  # noqa: PLC0415 - a large library that few catalogues need

        self.probes = probes
        self._centre_LD, self._list_I = centre_LD, list_I
        # Items lie by distance, which long vectors do not distort; lists are read by the product that is looked for.
        self._centres = faiss.IndexFlatIP(item_ID.shape[1])
        self._centres.add(centre_LD)
        self._index = faiss.IndexIVFFlat(self._centres, item_ID.shape[1], len(centre_LD), faiss.METRIC_INNER_PRODUCT)
        self._index.is_trained = True
        items, lists = np.ascontiguousarray(item_ID), np.ascontiguousarray(list_I)
        self._index.add_core(len(items), faiss.swig_ptr(items), None, faiss.swig_ptr(lists))

    @property
    def most_probes(self) -> int:
        """How many lists there are."""
        return len(self._centre_LD)

    def search(self, user_D: Vectors, k: int, exclude: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return up to ``k`` item codes, best first."""
        import faiss  # noqa: PLC0415

        few = len(exclude) <= _FEW
        wanted = min(k + len(exclude) * few, len(self._list_I))
        # Faiss's stubs know the C++ side alone.
        asked = faiss.SearchParametersIVF(  # type: ignore[call-arg]
            nprobe=self.probes, sel=None if few else self._open(exclude)
        )
        _, found = self._index.search(user_D[None], wanted, params=asked)
        codes: NDArray[np.int32] = found[0][found[0] >= 0].astype(np.int32)
        return codes[~np.isin(codes, exclude)][:k] if few else codes[:k]

    def arrays(self) -> Arrays:
        """Return centres and lists: what takes long to find. The vectors are the encoder's, and stand there."""
        return {
            "centres": self._centre_LD,
            "lists": self._list_I.astype(np.int32),
            "probes": np.array([self.probes], dtype=np.int32),
        }

    def _open(self, exclude: NDArray[np.int32]) -> faiss.IDSelector:
        import faiss  # noqa: PLC0415

        open_I = np.ones(len(self._list_I), dtype=bool)
        open_I[exclude] = False
        bits = np.packbits(open_I, bitorder="little")
        return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]


@dataclass(frozen=True)
class Inverted(IndexConfig):
    """Looks items up in inverted lists (Faiss), reading as few as keep the recall that is asked for.

    Source: Jégou et al., Product quantization for nearest neighbor search (2011), section 4; vectors are kept whole.

    Parameters
    ----------
    recall
        Share of the true best 200 that a search has to find, over a sample of viewers.
    lists
        How many lists; 0 takes twice the root of the number of items.
    probes
        How many of them a search reads; 0 takes the fewest that reach ``recall``.
    widen
        How many times as many items are looked up where the encoder's match is no dot product: they are scored by the
        match, and the best are kept.
    """

    name: ClassVar[str] = "inverted"

    recall: float = 0.95
    lists: int = 0
    probes: int = 0
    widen: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise ConfigError(f"recall must lie above 0 and be at most 1, got {self.recall}")
        if min(self.lists, self.probes) < 0 or self.widen < 1:
            raise ConfigError("lists and probes must be 0 or more, and widen 1 or more")

    def chosen(self, n_items: int) -> IndexConfig | None:
        """Return itself, but for a catalogue without items."""
        return self if n_items else None

    def build(self, item_ID: Vectors, seed: int) -> VectorIndex:
        """Find centres by k-means over a sample, and the nearest one of each item."""
        import faiss  # noqa: PLC0415

        item_ID = np.ascontiguousarray(item_ID, dtype=np.float32)
        lists = min(self.lists or max(1, round(2 * len(item_ID) ** 0.5)), len(item_ID))
        rng = np.random.default_rng(seed)
        sample = item_ID[np.sort(rng.permutation(len(item_ID))[: lists * _A_LIST])]
        # One point a list is enough to go on: small catalogues are not warned of.
        means = faiss.Kmeans(
            item_ID.shape[1],
            lists,
            niter=_ROUNDS,
            seed=int(rng.integers(1, 2**31)),
            min_points_per_centroid=1,
            max_points_per_centroid=_A_LIST,
        )
        means.train(sample)
        _, nearest_I1 = means.index.search(item_ID, 1)
        centre_LD = np.array(means.centroids, dtype=np.float32)
        return InvertedLists(item_ID, centre_LD, nearest_I1[:, 0].astype(np.int64), self.probes or 1)

    def of_run(self, arrays: Arrays, codes: range) -> Arrays:
        """Keep every list: a search then reads the part of the same lists that lies in the run."""
        return {**arrays, "lists": arrays["lists"][codes.start : codes.stop]}

    def restore(self, item_ID: Vectors, arrays: Arrays) -> VectorIndex:
        """Put the vectors into the lists that they lay in."""
        centre_LD = np.ascontiguousarray(arrays["centres"], dtype=np.float32)
        return InvertedLists(
            np.ascontiguousarray(item_ID, dtype=np.float32),
            centre_LD,
            arrays["lists"].astype(np.int64),
            int(arrays["probes"][0]),
        )
