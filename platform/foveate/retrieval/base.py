"""The seam of candidate sources.

Shapes: ``B`` queries, ``I`` items, ``N`` candidates of one query, ``R`` source features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.core.registry import Registry, Variant
from foveate.data.catalog import Catalog
from foveate.data.fitting import FitContext
from foveate.data.worker_group import WorkerGroupConfig
from foveate.retrieval.attribution import Attribution, by_thirds, liked

_BLOCKS = 4
"""Blocks for each item that is wanted: so many that not many more items than wanted reach the floor they give."""


class Asked(ABC):
    """A source that was asked.

    Parameters
    ----------
    tops
        For each query the codes of the source's best items, best first.
    """

    def __init__(self, tops: Sequence[NDArray[np.int32]]) -> None:
        self.tops = tops

    @abstractmethod
    def scores_of(self, row: int, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N]`` the scores of some items for the query at ``row``."""


class Scored(Asked):
    """One that has scored every item."""

    def __init__(self, scores_BI: NDArray[np.float32], queries: Sequence[Query], k: int) -> None:
        super().__init__([top_k(row_I, query.exclude, k) for row_I, query in zip(scores_BI, queries, strict=True)])
        self._scores_BI = scores_BI

    def scores_of(self, row: int, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N]`` the scores of some items for the query at ``row``."""
        scores_N: NDArray[np.float32] = self._scores_BI[row, items]
        return scores_N


def top_k(scores_I: NDArray[np.float32], exclude: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    """Return the codes of the ``k`` best items, best first and ties by code, leaving out ``exclude``."""
    open_scores = scores_I.astype(np.float32, copy=True)
    open_scores[exclude] = -np.inf
    # Everything that ties with the k-th best must be seen before ties are broken by code.
    codes = np.flatnonzero(open_scores >= _floor(open_scores, k))
    codes = codes[np.isfinite(open_scores[codes])]
    order = np.argsort(-open_scores[codes], kind="stable")[:k]
    return codes[order].astype(np.int32)


def _floor(scores_I: NDArray[np.float32], k: int) -> np.float32:
    """Return a score that at least ``k`` items reach, as high as comes cheap; minus infinity where there are fewer.

    Among many items the best of each of a few blocks are found quickly, and the k-th of those is such a score.
    """
    if not 0 < k < len(scores_I):
        return np.float32(-np.inf)
    width = len(scores_I) // (_BLOCKS * k)
    if width > 1:
        blocks = len(scores_I) // width
        scores_I = scores_I[: blocks * width].reshape(blocks, width).max(axis=1)
    return np.float32(np.partition(scores_I, -k)[-k])


__all__ = ["Arrays", "Asked", "CandidateSource", "FitContext", "SourceConfig", "top_k"]

Arrays = Mapping[str, NDArray[np.generic]]
"""What a fitted source is made of; a bundle stores it as one safetensors file."""


class CandidateSource(ABC):
    """A fitted source; a score of 0 says that it knows nothing of an item."""

    name: str
    source_feature_names: tuple[str, ...] = ()
    """What :meth:`source_features` has to say; as the config's."""
    reads_history: bool = True
    """Whether scores depend on who asks."""

    @abstractmethod
    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]`` scores of every item, higher is better; finite, and not masked by ``exclude``."""

    @property
    def item_vectors(self) -> NDArray[np.float32] | None:
        """``[I, D]``: what the source has learned each item by, None for one that learns no such thing."""
        return None

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what ``SourceConfig.restore`` needs to make this source again."""

    def extended(self, catalog: Catalog) -> CandidateSource | None:
        """Return the source over a catalogue with ``appended`` items behind its own; None if it can place none."""
        del catalog
        return None

    def retrieve(self, queries: Sequence[Query], k: int) -> list[NDArray[np.int32]]:
        """Return each query's best ``k`` item codes, best first, ties by code.

        The excluded are left out before the top is taken.
        """
        return list(self.ask(queries, k).tops)

    def ask(self, queries: Sequence[Query], k: int) -> Asked:
        """Return each query's best ``k`` items, with a way to score others; sources with an index override it."""
        return Scored(self.scores(queries), queries, k)

    def renewed(self, context: FitContext) -> CandidateSource:
        """Return the source with whatever it counts brought to a later window's end; nothing is learned anew.

        What takes long to learn serves the label windows after its own, and must not show the ranker counts that are
        older than those it will be served with.
        """
        del context
        return self

    def source_features(
        self, queries: Sequence[Query], items: Sequence[NDArray[np.int32]]
    ) -> list[NDArray[np.float32]]:
        """Return for each query ``[N, R]`` finite numbers: what there is to say of its candidates beside their scores.

        Parameters
        ----------
        queries
            A batch; what is said for one does not depend on the others.
        items
            Each query's ``N`` candidates, this source's own and the others'.
        """
        del queries
        return [np.empty((len(own), 0), dtype=np.float32) for own in items]

    def scores_of(self, queries: Sequence[Query], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[B, N]``: the columns of :meth:`scores` that belong to ``items``."""
        return self.scores(queries)[:, items]

    def read(self, query: Query) -> NDArray[np.int32]:
        """Return ``[H]`` the distinct items of a query's history that scores may depend on, the newest first."""
        return liked(query) if self.reads_history else liked(query)[:0]

    def attribute(self, query: Query, items: NDArray[np.int32]) -> Attribution:
        """Return what each item of the history brings to the scores of ``items``; sources that can tell override it."""
        return by_thirds(lambda asked: self.scores_of(asked, items), query, self.read(query), len(items))

    def attention_weights(self, query: Query) -> NDArray[np.float32] | None:
        """Return ``[H]``, beside :meth:`read`, the share of its look that went to each; None where it has no such look.

        A share says where the source looked, and not what its answer hangs on: that is :meth:`attribute`.
        """
        del query
        return None


class SourceConfig(Variant):
    """Base of the sources' frozen configs; each file of this package that defines one adds a source."""

    variants: ClassVar[Registry[SourceConfig]]
    learned: ClassVar[bool] = False
    """Whether fitting takes long, and its scores of items it was trained on are inflated."""

    @property
    def source_feature_names(self) -> tuple[str, ...]:
        """``R`` names, unique among sources, of the ranker's columns that ``CandidateSource.source_features`` fills."""
        return ()

    def check(self, train: WorkerGroupConfig) -> None:
        """Refuse, before anything is learned, what the processes that ``train`` asks for cannot do.

        Raises
        ------
        ConfigError
            As said; the message tells the remedy.
        """

    def fit(self, context: FitContext) -> CandidateSource:
        """Learn the source from a window of the log."""
        raise NotImplementedError

    def restore(self, arrays: Arrays, catalog: Catalog) -> CandidateSource:
        """Make the source again from its arrays."""
        raise NotImplementedError


SourceConfig.variants = Registry("source", SourceConfig, "foveate.retrieval")
