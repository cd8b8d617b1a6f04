"""The encoder: item vectors, blocks of mixer and feed-forward, and a match of viewers with items.

Legend of tensor names: ``B`` viewers, ``L`` history positions, ``D`` width, ``N`` items, ``I`` all items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import MixerConfig, ScorerConfig, SequenceContext
from foveate.attention.cosine import Cosine
from foveate.attention.filtered import Filtered
from foveate.encoder.batch import SequenceBatch
from foveate.encoder.content import Content
from foveate.encoder.embedding.lookup import Lookup, WholeTable
from foveate.encoder.heads.base import HeadConfig
from foveate.encoder.inputs.base import EventInputConfig, InputConfig, ItemInputConfig, RequestInputConfig
from foveate.encoder.trend import Trend

T = TypeVar("T", bound=InputConfig)

_ITEM_STD = 0.02
"""Standard deviation of fresh item vectors: small, so that the first scores are nearly even."""


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is made of.

    Parameters
    ----------
    width
        Length of every vector.
    blocks
        How many times mixer and feed-forward follow one another; 0 leaves the newest event alone.
    max_len
        How many of a viewer's newest events are read.
    dropout
        Share of values left out in training.
    feed_forward
        Hidden width of the feed-forward, in widths; 0 leaves it out.
    positions
        ``none`` leaves order to the mixer; ``learned`` adds a vector for each age, counted from the newest event.
    mixer
        How the past is weighed.
    scorer
        How viewers are matched with items.
    head
        An interest predictor that takes the scorer's place, or None.
    inputs
        What is read beside ids, each kind once. Where the clock is order only, those that need the time add nothing.
    trend
        Half-lives, in days, of the popularity that is added to every score; see :mod:`foveate.encoder.trend`. None adds
        none, and so does a clock that is order only. It goes with scores that are logits: with ``dot_product``, or with
        a ``cosine`` of a high temperature.
    """

    width: int = 64
    blocks: int = 2
    max_len: int = 50
    dropout: float = 0.3
    feed_forward: int = 2
    positions: Literal["learned", "none"] = "none"
    mixer: MixerConfig = field(default_factory=Filtered)
    scorer: ScorerConfig = field(default_factory=Cosine)
    head: HeadConfig | None = None
    inputs: tuple[InputConfig, ...] = ()
    trend: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        names = [config.name for config in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError(f"an input stands twice in inputs: {', '.join(names)}")
        if min(self.width, self.max_len) < 1 or min(self.blocks, self.feed_forward) < 0:
            raise ValueError("width and max_len must be 1 or more, blocks and feed_forward 0 or more")
        if not all(days > 0 for days in self.trend):
            raise ValueError(f"trend: half-lives must be above 0 days, got {', '.join(map(str, self.trend))}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    def inputs_of(self, kind: type[T]) -> list[T]:
        """Return the inputs of one kind: of events, of requests or of items."""
        return [config for config in self.inputs if isinstance(config, kind)]


class SequenceEncoder(nn.Module):
    """Turns histories into viewer vectors that live in the space of the item vectors.

    Parameters
    ----------
    config
        What it is made of.
    n_items
        How many items there are.
    content
        What is known of the items; None knows nothing of them.
    timed
        Whether it learns from times. Where the clock is order only it does not, and is not to be told any later.
    """

    trained_I: Tensor
    timed: Tensor

    def __init__(
        self, config: EncoderConfig, n_items: int, content: Content | None = None, *, timed: bool = True
    ) -> None:
        super().__init__()
        self.config = config
        self.items = nn.Embedding(n_items, config.width)
        self.ages = nn.Embedding(config.max_len, config.width) if config.positions == "learned" else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(config.width)
        self.trend = Trend(n_items, config.trend) if config.trend else None
        self.match = config.head.build(config.width) if config.head else config.scorer.build(config.width)
        for table in (self.items, self.ages):
            if table is not None:
                nn.init.normal_(table.weight, std=_ITEM_STD)
        self._add_inputs(config, content or Content.unknown(config.inputs_of(ItemInputConfig), n_items))
        self.register_buffer("timed", torch.tensor(timed))

    def _add_inputs(self, config: EncoderConfig, content: Content) -> None:
        width = config.width
        self.event_inputs = nn.ModuleList([own.build(width) for own in config.inputs_of(EventInputConfig)])
        self.request_inputs = nn.ModuleList([own.build(width) for own in config.inputs_of(RequestInputConfig)])
        self.item_inputs = nn.ModuleDict(
            {own.name: own.build(width, content.facts[own.name]) for own in config.inputs_of(ItemInputConfig)}
        )
        if self.item_inputs:
            self.register_buffer("trained_I", torch.tensor(content.trained))

    def item_vectors(self) -> Tensor:
        """Return ``[I, D]``: each item's own vector, and what the item inputs add to it."""
        return self.known_by(self.items.weight)

    def known_by(self, own_ND: Tensor, items_N: Tensor | None = None) -> Tensor:
        """Return ``[N, D]``: items' own vectors, and what the item inputs add to them.

        Of an item that no history holds the own vector is noise. Where there is something else to know it by, that
        alone stands for it.

        Parameters
        ----------
        own_ND
            The own vectors.
        items_N
            int64 codes of the items; None where they are all of them, in order.
        """
        if not self.item_inputs:
            return own_ND
        trained_N = self.trained_I if items_N is None else self.trained_I[items_N]
        return sum((added(items_N) for added in self.item_inputs.values()), own_ND * trained_N[:, None])

    def states(
        self, batch: SequenceBatch, items: Lookup | None = None, *, want_weights: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Read histories.

        Parameters
        ----------
        batch
            The histories.
        items
            The item vectors, where they are at hand.
        want_weights
            Whether the mixers' weights are returned too.

        Returns
        -------
        tuple of Tensor and list of Tensor
            ``[B, L, D]``, the viewer after each event, and where wanted each block's ``[B, H, L, L]``.
        """
        context = batch.context(want_weights=want_weights)
        x_BLD = (items or WholeTable(self.item_vectors())).of(batch.items_BL)
        x_BLD = _plus(x_BLD, self.event_inputs, batch)
        if self.ages is not None:
            age_L = torch.arange(x_BLD.shape[1] - 1, -1, -1, device=x_BLD.device)
            x_BLD = x_BLD + self.ages(age_L)
        if batch.padded:
            x_BLD = x_BLD * batch.valid_BL[..., None]
        x_BLD = self.dropout(x_BLD)
        seen: list[Tensor] = []
        for block in self.blocks:
            x_BLD, weights = block(x_BLD, context)
            if weights is not None:
                seen.append(weights)
        return _plus(self.norm(x_BLD), self.request_inputs, batch), seen

    def forward(self, batch: SequenceBatch, items: Lookup | None = None) -> Tensor:
        """Return ``[B, D]``: the viewers after their newest event."""
        return self.states(batch, items)[0][:, -1]

    def score(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        """Return ``[B, N]``: how well viewers and items match."""
        scores: Tensor = self.match(user_BD, item_ND)
        return scores


def _plus(x_BLD: Tensor, inputs: Iterable[nn.Module], batch: SequenceBatch) -> Tensor:
    for added in inputs:
        x_BLD = x_BLD + added(batch)
    return x_BLD


class Block(nn.Module):
    """A mixer and a feed-forward, each normalised before and added to what came in."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.width * config.feed_forward
        self.mixer = config.mixer.build(width, config.max_len)
        self.mixer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.feed_forward = FeedForward(width, hidden, config.dropout) if hidden else None

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the vectors after this block and, where wanted, the mixer's weights."""
        mixed_BLD, weights = self.mixer(self.mixer_norm(x_BLD), context)
        x_BLD = x_BLD + self.dropout(mixed_BLD)
        if self.feed_forward is not None:
            x_BLD = x_BLD + self.feed_forward(x_BLD)
        return x_BLD, weights


class FeedForward(nn.Module):
    """Two linear maps with a bend between them, for each position alone."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Return what is to be added to ``x_BLD``."""
        added: Tensor = self.dropout(self.down(F.gelu(self.up(self.norm(x_BLD)))))
        return added
