"""Attention source: the items that the encoder expects a viewer to watch next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.data.queries import events_of
from foveate.data.worker_group import WorkerGroupConfig
from foveate.encoder.distributed.training import train_together
from foveate.encoder.embedding.mapped import MappedEncoder
from foveate.encoder.embedding.table import check_shareable
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder, target_attention
from foveate.encoder.training.train import TrainConfig, renewed, train_encoder
from foveate.retrieval.asked import Asked
from foveate.retrieval.attribution import liked
from foveate.retrieval.base import Arrays, CandidateSource, FitContext, SourceConfig
from foveate.retrieval.index.auto import Auto
from foveate.retrieval.index.base import IndexConfig
from foveate.retrieval.index.finder import Finder

INDEX = "index/"
"""Begins the names of the index's arrays among the encoder's."""


@dataclass(frozen=True)
class Viewers:
    """A batch of viewers as the encoder sees them.

    Parameters
    ----------
    user_BD
        Their vectors.
    known_B
        bool: whether items differ to them; to one without a history all may be alike.
    """

    user_BD: Tensor
    known_B: NDArray[np.bool_]


class AttentionSource(CandidateSource):
    """A trained encoder that matches a viewer's positive history with every item."""

    def __init__(
        self, config: Attention, encoder: TrainedEncoder, catalog: Catalog, finder: Finder | None = None
    ) -> None:
        self.name = config.name
        self.source_feature_names = config.source_feature_names
        self.config = config
        self.encoder = encoder
        self.finder = finder
        self._catalog = catalog

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """``[I, D]``: what the encoder knows each item by."""
        return self.encoder.item_vectors

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``; to a viewer without a history all items are alike, but for their trend."""
        histories = events_of(queries, len(self._catalog)).histories(self._catalog.duration)
        return self.encoder.scores(histories, np.array([query.now for query in queries], dtype=np.int64))

    def ask(self, queries: Sequence[Query], k: int) -> Asked:
        """Return each query's best ``k`` items, out of the index where there is one."""
        if self.finder is None:
            return super().ask(queries, k)
        viewers, n_items = self.encode(queries), len(self._catalog)
        rows = zip(viewers.user_BD, viewers.known_B, queries, strict=True)
        tops = [
            self.finder.find(user_D, k, query.exclude) if known else alike(n_items, query.exclude, k)
            for user_D, known, query in rows
        ]
        return self.answer(viewers, tops)

    def encode(self, queries: Sequence[Query]) -> Viewers:
        """Return the viewers who ask."""
        histories = events_of(queries, len(self._catalog)).histories(self._catalog.duration)
        user_BD = self.encoder.encode(histories, np.array([query.now for query in queries], dtype=np.int64))
        return Viewers(user_BD, (np.diff(histories.offsets) > 0) | self.encoder.knows_newcomers)

    def answer(self, viewers: Viewers, tops: Sequence[NDArray[np.int32]]) -> Asked:
        """Return what the source has to say to ``viewers``, given the codes of each one's best items, best first."""
        return _RetrievedVectors(self.encoder, viewers, tops)

    def scores_of(self, queries: Sequence[Query], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[B, N]``: the scores of ``items`` alone."""
        histories = events_of(queries, len(self._catalog)).histories(self._catalog.duration)
        return self.encoder.scores(histories, np.array([query.now for query in queries], dtype=np.int64), items)

    def read(self, query: Query) -> NDArray[np.int32]:
        """Return ``[H]`` the distinct items among the events that the encoder reads, the newest first."""
        return liked(query, self.encoder.config.max_len)

    def attention_weights(self, query: Query) -> NDArray[np.float32] | None:
        """Return ``[H]`` the encoder's attention, an item's events added up; None where its mixer weighs no events."""
        histories = events_of([query], len(self._catalog)).histories(self._catalog.duration)
        shares = self.encoder.attention(histories, np.array([query.now], dtype=np.int64))
        if shares is None:
            return None
        events = query.items[query.positives][-self.encoder.config.max_len :]
        own = self.read(query)
        return np.array([shares[0][events == item].sum() for item in own], dtype=np.float32)

    def renewed(self, context: FitContext) -> AttentionSource:
        """Return the source with what was popular at the end of another window."""
        encoder = renewed(self.encoder, context)
        if encoder is self.encoder:
            return self
        return AttentionSource(self.config, encoder, context.catalog, found_by(self.config.index, encoder, context))

    def source_features(
        self, queries: Sequence[Query], items: Sequence[NDArray[np.int32]]
    ) -> list[NDArray[np.float32]]:
        """Return ``[N, 1]`` for each query: what each candidate finds in the events that the encoder reads."""
        if not self.source_feature_names:
            return super().source_features(queries, items)
        vectors, newest = self.encoder.item_vectors, self.encoder.config.max_len
        pasts = [query.items[query.positives][-newest:] for query in queries]
        return [target_attention(vectors[own], vectors[past])[:, None] for past, own in zip(pasts, items, strict=True)]

    def arrays(self) -> Arrays:
        """Return the encoder's weights, and what its index was laid out by."""
        laid_out = {} if self.finder is None else self.finder.arrays()
        return {**self.encoder.arrays(), **{f"{INDEX}{name}": array for name, array in laid_out.items()}}


class _RetrievedVectors(Asked):
    """An encoder whose best items were looked up elsewhere; it scores any others by itself."""

    def __init__(self, encoder: TrainedEncoder, viewers: Viewers, tops: Sequence[NDArray[np.int32]]) -> None:
        super().__init__(tops)
        self._encoder, self._viewers = encoder, viewers

    def scores_of(self, row: int, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N]`` the scores of some items for the query at ``row``."""
        if not self._viewers.known_B[row]:
            return np.zeros(len(items), dtype=np.float32)
        return self._encoder.match(self._viewers.user_BD[row], items)


def alike(n_items: int, exclude: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    """Return the ``k`` best items to a viewer who finds all alike: the first codes that are not excluded."""
    # Among so many, k are open whatever is excluded.
    first = np.arange(min(n_items, k + len(exclude)), dtype=np.int32)
    return np.setdiff1d(first, exclude)[:k]


@dataclass(frozen=True)
class Attention(SourceConfig):
    """The sequence encoder as a source.

    Parameters
    ----------
    encoder
        What it is made of.
    train
        How it is trained.
    target_attention
        Whether the ranker is told what each candidate finds in the history when it is the one that looks: try it on the
        selection window, for beside the source's score it may add nothing.
    index
        How items are found: ``exact`` scores every one, ``inverted`` looks them up, ``auto`` goes by their number.
    """

    name = "attention"
    learned = True

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    target_attention: bool = False
    index: IndexConfig = field(default_factory=Auto)

    @property
    def source_feature_names(self) -> tuple[str, ...]:
        """``target_attention``, where it is wanted."""
        return ("target_attention",) if self.target_attention else ()

    def check(self, train: WorkerGroupConfig) -> None:
        """Refuse item vectors that are shared out under a loss that reads every one."""
        if train.shard_items:
            check_shareable(self.train.loss)

    def fit(self, context: FitContext) -> AttentionSource:
        """Train the encoder, by a worker group if there is one, and lay out its items where an index finds them."""
        worker_group = context.worker_group
        encoder = (
            train_encoder(self.encoder, self.train, context)
            if worker_group is None
            else train_together(self.encoder, self.train, context, worker_group)
        )
        return AttentionSource(self, encoder, context.catalog, found_by(self.index, encoder, context))

    def restore(self, arrays: Arrays, catalog: Catalog) -> AttentionSource:
        weights, laid_out = parted(arrays)
        encoder, chosen = TrainedEncoder.restore(self.encoder, weights), self.index.chosen(len(catalog))
        finder = None if chosen is None else Finder.restore(chosen, encoder, laid_out)
        return AttentionSource(self, encoder, catalog, finder)

    def restore_mapped(self, arrays: Arrays, catalog: Catalog) -> AttentionSource:
        """Make the source again over the arrays as they lie, without an index.

        For a process that has few items scored and leaves the search among all of them to others.
        """
        return AttentionSource(self, MappedEncoder.restore(self.encoder, parted(arrays)[0]), catalog)


def found_by(index: IndexConfig, encoder: TrainedEncoder, context: FitContext) -> Finder | None:
    """Lay out an encoder's items where an index is to find them, None where every one is scored."""
    chosen = index.chosen(len(context.catalog))
    return None if chosen is None else Finder.fit(chosen, encoder, context)


def parted(arrays: Arrays) -> tuple[Arrays, Arrays]:
    """Return the encoder's arrays, and those of its index, of the arrays that the source has."""
    laid_out = {path.removeprefix(INDEX): array for path, array in arrays.items() if path.startswith(INDEX)}
    return {path: array for path, array in arrays.items() if not path.startswith(INDEX)}, laid_out
