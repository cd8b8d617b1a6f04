"""A fitted source over a catalogue that has grown: it knows nothing of the items that came after it was fitted.

Shapes: ``B`` queries, ``I`` items that the source knows, ``J`` items in all, ``N`` candidates of one query.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, Query
from foveate.data.catalog import Catalog
from foveate.retrieval.attribution import Attribution
from foveate.retrieval.base import Arrays, Asked, CandidateSource

Codes = NDArray[np.int32]


def extended(source: CandidateSource, catalog: Catalog) -> CandidateSource:
    """Return a source over a catalogue whose ``appended`` items came after it was fitted."""
    if not catalog.appended:
        return source
    return source.extended(catalog) or Extended(source, len(catalog), catalog.appended)


class Extended(CandidateSource):
    """Answers as a source does, and scores the appended items 0.

    Parameters
    ----------
    source
        The fitted source.
    n_items
        ``J``.
    appended
        How many of them the source does not know: those with the last codes.
    """

    def __init__(self, source: CandidateSource, n_items: int, appended: int) -> None:
        self.name, self.source_feature_names = source.name, source.source_feature_names
        self.reads_history = source.reads_history
        self._source, self._known, self._appended = source, n_items - appended, appended

    @property
    def item_vectors(self) -> NDArray[np.float32] | None:
        """``[J, D]``, zeros for what is not known."""
        return padded(self._source.item_vectors, self._appended)

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, J]``."""
        known_BI = self._source.scores(self._within(queries))
        return np.concatenate([known_BI, np.zeros((len(queries), self._appended), dtype=np.float32)], axis=1)

    def ask(self, queries: Sequence[Query], k: int) -> Asked:
        """Return each query's best ``k`` items among those that the source knows."""
        return _Known(self._source.ask(self._within(queries), k), self._known)

    def scores_of(self, queries: Sequence[Query], items: Codes) -> NDArray[np.float32]:
        """Return ``[B, N]``."""
        scores_BN = np.zeros((len(queries), len(items)), dtype=np.float32)
        known_N = items < self._known
        scores_BN[:, known_N] = self._source.scores_of(self._within(queries), items[known_N])
        return scores_BN

    def source_features(self, queries: Sequence[Query], items: Sequence[Codes]) -> list[NDArray[np.float32]]:
        """Return what the source says, zeros of the appended items."""
        known = [own < self._known for own in items]
        said = self._source.source_features(
            self._within(queries), [own[known_N] for own, known_N in zip(items, known, strict=True)]
        )
        whole = [np.zeros((len(own), len(self.source_feature_names)), dtype=np.float32) for own in items]
        for rows, known_N, own in zip(whole, known, said, strict=True):
            rows[known_N] = own
        return whole

    def read(self, query: Query) -> Codes:
        """Return ``[H]`` what the source reads of a history."""
        return self._source.read(within(query, self._known))

    def attribute(self, query: Query, items: Codes) -> Attribution:
        """Return what each item of the history brings; nothing to the scores of appended items."""
        known_N = items < self._known
        own = self._source.attribute(within(query, self._known), items[known_N])
        drops = np.zeros((len(items), *own.drops.shape[1:]), dtype=own.drops.dtype)
        drops[known_N] = own.drops
        return replace(own, drops=drops)

    def attention_weights(self, query: Query) -> NDArray[np.float32] | None:
        """Return where the source looks."""
        return self._source.attention_weights(within(query, self._known))

    def arrays(self) -> Arrays:
        """Return the source's own."""
        return self._source.arrays()

    def _within(self, queries: Sequence[Query]) -> list[Query]:
        return [within(query, self._known) for query in queries]


class _Known(Asked):
    """An answer that scores the items that are not known 0."""

    def __init__(self, asked: Asked, known: int) -> None:
        super().__init__(asked.tops)
        self._asked, self._known = asked, known

    def scores_of(self, row: int, items: Codes) -> NDArray[np.float32]:
        """Return ``[N]``."""
        scores_N = np.zeros(len(items), dtype=np.float32)
        known_N = items < self._known
        scores_N[known_N] = self._asked.scores_of(row, items[known_N])
        return scores_N


def within(query: Query, n_items: int) -> Query:
    """Return a query with the items of the first ``n_items`` codes alone."""
    if max(query.exclude.max(initial=-1), query.items.max(initial=-1)) < n_items:
        return query
    exclude, known_H = query.exclude[query.exclude < n_items], query.items < n_items
    return replace(
        query,
        items=query.items[known_H],
        times=query.times[known_H],
        kinds=query.kinds[known_H],
        values=query.values[known_H],
        positives=query.positives[known_H],
        exclude=exclude,
    )


def candidates_within(candidates: Candidates, n_items: int) -> Candidates:
    """Return candidates with the items of the first ``n_items`` codes alone."""
    known = int(np.searchsorted(candidates.items, n_items))
    if known == len(candidates.items):
        return candidates
    return replace(
        candidates,
        items=candidates.items[:known],
        scores=candidates.scores[:known],
        offered=candidates.offered[:known],
        source_features=candidates.source_features[:known],
    )


def padded(values: NDArray[np.float32] | None, count: int) -> NDArray[np.float32] | None:
    """Return an array with ``count`` rows of zeros behind its own; None stays."""
    if values is None:
        return None
    return np.concatenate([values, np.zeros((count, *values.shape[1:]), dtype=values.dtype)])
