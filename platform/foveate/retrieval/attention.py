"""What the encoder expects a viewer to watch next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.queries import events_of
from foveate.encoder.model import EncoderConfig
from foveate.encoder.train import TrainConfig, train_encoder
from foveate.encoder.trained import TrainedEncoder
from foveate.messages import Query
from foveate.retrieval.base import Arrays, CandidateSource, FitContext, SourceConfig


class AttentionSource(CandidateSource):
    """A trained encoder that matches a viewer's positive history with every item."""

    def __init__(self, name: str, encoder: TrainedEncoder, catalog: Catalog) -> None:
        self.name = name
        self.encoder = encoder
        self._catalog = catalog

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``; all items are alike to a viewer without a history."""
        histories = events_of(queries, len(self._catalog)).histories(self._catalog.duration)
        return self.encoder.scores(histories, np.array([query.now for query in queries], dtype=np.int64))

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
    """

    name = "attention"
    learned = True

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def fit(self, context: FitContext) -> AttentionSource:
        """Train the encoder."""
        return AttentionSource(self.name, train_encoder(self.encoder, self.train, context), context.catalog)

    def restore(self, arrays: Arrays, catalog: Catalog) -> AttentionSource:
        """Make the source again."""
        return AttentionSource(self.name, TrainedEncoder.restore(self.encoder, arrays), catalog)
