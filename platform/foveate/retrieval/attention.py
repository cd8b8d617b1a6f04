"""What the encoder expects a viewer to watch next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.queries import events_of
from foveate.encoder.model import EncoderConfig
from foveate.encoder.target import target_attention
from foveate.encoder.train import TrainConfig, train_encoder
from foveate.encoder.trained import TrainedEncoder
from foveate.messages import Query
from foveate.retrieval.base import Arrays, CandidateSource, FitContext, SourceConfig
from foveate.retrieval.carried import liked


class AttentionSource(CandidateSource):
    """A trained encoder that matches a viewer's positive history with every item."""

    def __init__(self, config: Attention, encoder: TrainedEncoder, catalog: Catalog) -> None:
        self.name = config.name
        self.remark_names = config.remark_names
        self.encoder = encoder
        self._catalog = catalog

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """``[I, D]``: what the encoder knows each item by."""
        return self.encoder.item_vectors

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``; all items are alike to a viewer without a history."""
        histories = events_of(queries, len(self._catalog)).histories(self._catalog.duration)
        return self.encoder.scores(histories, np.array([query.now for query in queries], dtype=np.int64))

    def scores_of(self, queries: Sequence[Query], items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[B, N]``: the scores of ``items`` alone."""
        histories = events_of(queries, len(self._catalog)).histories(self._catalog.duration)
        return self.encoder.scores(histories, np.array([query.now for query in queries], dtype=np.int64), items)

    def read(self, query: Query) -> NDArray[np.int32]:
        """Return ``[H]`` the distinct items among the events that the encoder reads, the newest first."""
        return liked(query, self.encoder.config.max_len)

    def looked(self, query: Query) -> NDArray[np.float32] | None:
        """Return ``[H]`` the encoder's attention, an item's events added up; None where its mixer weighs no events."""
        histories = events_of([query], len(self._catalog)).histories(self._catalog.duration)
        shares = self.encoder.attention(histories, np.array([query.now], dtype=np.int64))
        if shares is None:
            return None
        events = query.items[query.positives][-self.encoder.config.max_len :]
        own = self.read(query)
        return np.array([shares[0][events == item].sum() for item in own], dtype=np.float32)

    def remarks(self, queries: Sequence[Query], items: Sequence[NDArray[np.int32]]) -> list[NDArray[np.float32]]:
        """Return ``[N, 1]`` for each query: what each candidate finds in the events that the encoder reads."""
        if not self.remark_names:
            return super().remarks(queries, items)
        vectors, newest = self.encoder.item_vectors, self.encoder.config.max_len
        pasts = [query.items[query.positives][-newest:] for query in queries]
        return [target_attention(vectors[own], vectors[past])[:, None] for past, own in zip(pasts, items, strict=True)]

    def arrays(self) -> Arrays:
        """Return the encoder's weights."""
        return self.encoder.arrays()


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
    """

    name = "attention"
    learned = True

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    target_attention: bool = False

    @property
    def remark_names(self) -> tuple[str, ...]:
        """``target_attention``, where it is wanted."""
        return ("target_attention",) if self.target_attention else ()

    def fit(self, context: FitContext) -> AttentionSource:
        """Train the encoder."""
        return AttentionSource(self, train_encoder(self.encoder, self.train, context), context.catalog)

    def restore(self, arrays: Arrays, catalog: Catalog) -> AttentionSource:
        """Make the source again."""
        return AttentionSource(self, TrainedEncoder.restore(self.encoder, arrays), catalog)
