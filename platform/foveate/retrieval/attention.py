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
from foveate.encoder.content_map import ContentMap
from foveate.encoder.distributed.training import train_together
from foveate.encoder.embedding.mapped import MappedEncoder
from foveate.encoder.embedding.table import check_shareable
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder, target_attention
from foveate.encoder.training.train import TrainConfig, renewed, train_encoder
from foveate.retrieval.attribution import liked
from foveate.retrieval.base import Arrays, Asked, CandidateSource, FitContext, SourceConfig
from foveate.retrieval.index.auto import Auto
from foveate.retrieval.index.base import IndexConfig
from foveate.retrieval.index.finder import Finder

INDEX, CONTENT = "index/", "content/"
"""Begin the names of the arrays of the index, and of the map from content, among the encoder's."""
_VIEWERS, _MAPPED = 200, 5_000
"""Viewers and items, at most, on which it is seen how far mapped vectors can be trusted."""


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
        self,
        config: Attention,
        encoder: TrainedEncoder,
        catalog: Catalog,
        finder: Finder | None = None,
        content_map: ContentMap | None = None,
    ) -> None:
        self.name = config.name
        self.source_feature_names = config.source_feature_names
        self.config = config
        self.encoder = encoder
        self.finder = finder
        self.content_map = content_map
        self._catalog = catalog

    def extended(self, catalog: Catalog) -> AttentionSource:
        """Place the appended items by what is known of them; where no map was learned their scores are 0."""
        appended, mapped = catalog.frame[-catalog.appended :], self.content_map
        if mapped is None:
            nothing_ND = np.zeros((len(appended), self.encoder.config.width), dtype=np.float32)
            encoder = self.encoder.extended(nothing_ND, trust=0.0)
        else:
            encoder = self.encoder.extended(mapped.vectors(appended), mapped.trust, mapped.offset)
        return AttentionSource(self.config, encoder, catalog, self.finder, mapped)

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
        laid_out = n_items - self._catalog.appended
        rows = zip(viewers.user_BD, viewers.known_B, queries, strict=True)
        tops = [
            self.finder.find(user_D, k, query.exclude[query.exclude < laid_out])
            if known
            else alike(n_items, query.exclude, k)
            for user_D, known, query in rows
        ]
        return self.answer(viewers, self.with_appended(viewers, tops, queries, [k] * len(queries)))

    def with_appended(
        self, viewers: Viewers, tops: Sequence[NDArray[np.int32]], queries: Sequence[Query], counts: Sequence[int]
    ) -> list[NDArray[np.int32]]:
        """Return each viewer's best ``counts`` of what was found among the bundle's items, and of the appended ones.

        Parameters
        ----------
        tops
            For each the codes that were found, best first.
        """
        n_items = len(self._catalog)
        appended = np.arange(n_items - self._catalog.appended, n_items, dtype=np.int32)
        if not len(appended):
            return list(tops)
        joined = []
        rows = zip(viewers.user_BD, viewers.known_B, tops, queries, counts, strict=True)
        for user_D, known, top, query, count in rows:
            if not known:
                joined.append(top)
                continue
            codes = np.union1d(top, np.setdiff1d(appended, query.exclude)).astype(np.int32)
            scores = self.encoder.match(user_D, codes)
            joined.append(codes[np.argsort(-scores, kind="stable")[:count]])
        return joined

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
        finder = found_by(self.config.index, encoder, context)
        return AttentionSource(self.config, encoder, context.catalog, finder, self.content_map)

    def source_features(
        self, queries: Sequence[Query], items: Sequence[NDArray[np.int32]]
    ) -> list[NDArray[np.float32]]:
        """Return ``[N, 1]`` for each query: what each candidate finds in the events that the encoder reads."""
        if not self.source_feature_names:
            return super().source_features(queries, items)
        vectors, newest = self.encoder.vectors_of, self.encoder.config.max_len
        pasts = [query.items[query.positives][-newest:] for query in queries]
        return [target_attention(vectors(own), vectors(past))[:, None] for past, own in zip(pasts, items, strict=True)]

    def arrays(self) -> Arrays:
        """Return the encoder's weights, what its index was laid out by, and the map from content."""
        laid_out = {} if self.finder is None else self.finder.arrays()
        mapped = {} if self.content_map is None else self.content_map.arrays()
        return {
            **self.encoder.arrays(),
            **{f"{INDEX}{name}": array for name, array in laid_out.items()},
            **{f"{CONTENT}{name}": array for name, array in mapped.items()},
        }


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
        finder = found_by(self.index, encoder, context)
        return AttentionSource(self, encoder, context.catalog, finder, _learned_map(encoder, context))

    def restore(self, arrays: Arrays, catalog: Catalog) -> AttentionSource:
        weights, laid_out, mapped = parted(arrays)
        encoder, chosen = TrainedEncoder.restore(self.encoder, weights), self.index.chosen(len(catalog))
        finder = None if chosen is None else Finder.restore(chosen, encoder, laid_out)
        return AttentionSource(self, encoder, catalog, finder, _content_map(mapped))

    def restore_mapped(self, arrays: Arrays, catalog: Catalog) -> AttentionSource:
        """Make the source again over the arrays as they lie, without an index.

        For a process that has few items scored and leaves the search among all of them to others.
        """
        weights, _, mapped = parted(arrays)
        encoder = MappedEncoder.restore(self.encoder, weights)
        return AttentionSource(self, encoder, catalog, content_map=_content_map(mapped))


def parted(arrays: Arrays) -> tuple[Arrays, Arrays, Arrays]:
    """Return the encoder's arrays, those of its index and those of the map from content, of the source's arrays."""
    attached = [
        {path.removeprefix(start): array for path, array in arrays.items() if path.startswith(start)}
        for start in (INDEX, CONTENT)
    ]
    own = {path: array for path, array in arrays.items() if not path.startswith((INDEX, CONTENT))}
    return own, attached[0], attached[1]


def found_by(index: IndexConfig, encoder: TrainedEncoder, context: FitContext) -> Finder | None:
    """Lay out an encoder's items where an index is to find them, None where every one is scored."""
    chosen = index.chosen(len(context.catalog))
    return None if chosen is None else Finder.fit(chosen, encoder, context)


def _learned_map(encoder: TrainedEncoder, context: FitContext) -> ContentMap | None:
    frame, n_items = context.catalog.frame, len(context.catalog)
    counts_I = np.bincount(context.histories.items, minlength=n_items)
    found = ContentMap.fit(frame, encoder.item_vectors, counts_I, context.seed)
    if found is None:
        return None
    rng = np.random.default_rng(context.seed)
    known = np.flatnonzero(counts_I)
    items = np.sort(rng.permutation(known)[:_MAPPED]).astype(np.int32)
    users = np.sort(rng.permutation(np.flatnonzero(context.histories.lengths))[:_VIEWERS])
    histories, moments = context.histories.take(users), np.full(len(users), context.now)
    over = encoder.extended(found.vectors(frame[items]))
    behind = np.arange(n_items, n_items + len(items), dtype=np.int32)
    both = encoder.scores(histories, moments, items), over.scores(histories, moments, behind)
    # What is popular lifts what has been watched: what nobody knows of a new item is then a term, and not a factor.
    return found.shifted(*both) if encoder.knows_newcomers else found.trusted(*both)


def _content_map(arrays: Arrays) -> ContentMap | None:
    # A bundle of an older Foveate has none.
    return ContentMap.restore(arrays) if arrays else None
