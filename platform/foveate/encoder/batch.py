"""Histories as rectangles of tensors, with as little padding as can be.

Legend of tensor names: ``B`` spans, ``L`` positions, ``N`` events of all viewers, ``U`` viewers. A *span* is a stretch
of one viewer's events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveate.attention.base import SequenceContext
from foveate.core.messages import NO_TIME
from foveate.data.events import Facts, Histories

PADDING = -1
"""Where the event stands that fills what a shorter span leaves free."""


@dataclass(frozen=True)
class SequenceBatch:
    """A few spans side by side, padded on the left: the newest event of each is at position ``L - 1``.

    What nobody reads is not looked up.

    Parameters
    ----------
    events
        The events of all viewers.
    row_BL
        int64 where each position's event stands among ``events``, ``PADDING`` where there is none.
    valid_BL
        bool: False where padding.
    padded
        Whether any position is padding.
    """

    events: EventArrays
    row_BL: Tensor
    valid_BL: Tensor
    padded: bool

    @property
    def items_BL(self) -> Tensor:
        """int64 item codes, 0 where padding."""
        return self.events.items_N[self.row_BL]

    @property
    def times_BL(self) -> Tensor:
        """int64 UTC microseconds, ``NO_TIME`` where unknown or padding."""
        return self.events.times_N[self.row_BL]

    @property
    def asked_BL(self) -> Tensor:
        """int64 UTC microseconds of the request that each position answers, ``NO_TIME`` where unknown or padding."""
        return self.events.asked_N[self.row_BL]

    @property
    def kinds_BL(self) -> Tensor:
        """int64 positions in ``EVENT_KINDS``, -1 where unknown or padding."""
        return self.events.kinds_N[self.row_BL]

    @property
    def watched_BL(self) -> Tensor:
        """float32 watched share of the item's length, NaN where unknown or padding."""
        return self.events.watched_N[self.row_BL]

    def context(self, *, want_weights: bool = False) -> SequenceContext:
        """Return what mixers may know beside the vectors."""
        return SequenceContext(self.valid_BL, self.times_BL, self.kinds_BL, want_weights, self.padded)

    def keep(self, kept_BL: Tensor) -> SequenceBatch:
        """Return the same spans with only some of their events, of which each span keeps one at least."""
        order_BL = torch.argsort(kept_BL.to(torch.int8), dim=1, stable=True)
        longest = int(kept_BL.sum(dim=1).max())
        row_BL, valid_BL = (values_BL.gather(1, order_BL)[:, -longest:] for values_BL in (self.row_BL, kept_BL))
        return SequenceBatch(self.events, _padded(row_BL, valid_BL), valid_BL, padded=not bool(valid_BL.all()))


@dataclass(frozen=True)
class Spans:
    """Stretches of a flat array of events, none of them empty: ``start_B`` and ``length_B``, int64."""

    start_B: Tensor
    length_B: Tensor

    def __len__(self) -> int:
        return len(self.start_B)

    def take(self, index: Tensor) -> Spans:
        """Return the spans at ``index``."""
        return Spans(self.start_B[index], self.length_B[index])


@dataclass(frozen=True)
class EventArrays:
    """The events of all viewers, one after another, on the device that trains or answers.

    One more stands at ``PADDING``, the last place: an event that nothing is known of, with item 0.

    Parameters
    ----------
    items_N, kinds_N
        int64 item codes, and positions in ``EVENT_KINDS`` or -1.
    times_N, asked_N
        int64 UTC microseconds or ``NO_TIME``: when each event was, and when the viewer was next to be answered.
    watched_N
        float32 watched share of the item's length, NaN where unknown.
    liked_N
        bool: whether the viewer had said that they like the item.
    """

    items_N: Tensor
    kinds_N: Tensor
    times_N: Tensor
    asked_N: Tensor
    watched_N: Tensor
    liked_N: Tensor

    @classmethod
    def of(
        cls, histories: Histories, device: torch.device, *, timed: bool = True, now: NDArray[np.int64] | None = None
    ) -> EventArrays:
        """Lay out histories, in training and at serving alike.

        Parameters
        ----------
        timed
            False where the clock is order only: then no time is known, whatever the histories say.
        now
            ``[U]`` UTC microseconds or ``NO_TIME``: when each viewer asks, after their newest event.
        """
        facts = histories.facts or Facts.unknown(len(histories.items))
        times = histories.times if timed else np.full(len(histories.items), NO_TIME)
        asked = _asked(times, histories.offsets, now if timed else None)

        def tensor(values: NDArray[np.generic], padding: float, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.tensor(np.append(values, np.array(padding, dtype=values.dtype)), dtype=dtype, device=device)

        return cls(
            items_N=tensor(histories.items, 0),
            kinds_N=tensor(facts.kinds, -1),
            times_N=tensor(times, NO_TIME),
            asked_N=tensor(asked, NO_TIME),
            watched_N=tensor(facts.watched, np.nan, torch.float32),
            liked_N=tensor(facts.liked, False, torch.bool),
        )

    def batch(self, spans: Spans) -> SequenceBatch:
        """Return the spans as one rectangle, as long as the longest of them."""
        length = int(spans.length_B.max())
        # Counted from the newest: negative where a shorter span has no event.
        from_start_BL = spans.length_B[:, None] - length + torch.arange(length, device=spans.start_B.device)
        valid_BL = from_start_BL >= 0
        row_BL = _padded(spans.start_B[:, None] + from_start_BL, valid_BL)
        return SequenceBatch(self, row_BL, valid_BL, padded=bool((spans.length_B != length).any()))

    def successors(self, spans: Spans) -> Tensor:
        """Return where the event stands that followed each one of the spans, in the order of ``valid_BL``."""
        owner_T = torch.repeat_interleave(spans.length_B)
        place_T = (
            torch.arange(len(owner_T), device=owner_T.device) - (spans.length_B.cumsum(0) - spans.length_B)[owner_T]
        )
        return spans.start_B[owner_T] + place_T + 1


def _padded(row_BL: Tensor, valid_BL: Tensor) -> Tensor:
    return torch.where(valid_BL, row_BL, PADDING)


def _asked(times: NDArray[np.int64], offsets: NDArray[np.int64], now: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """``[N]``: the time of each viewer's next event, and after their newest one the moment at which they ask."""
    asked = np.append(times[1:], NO_TIME)[: len(times)]
    some = np.diff(offsets) > 0
    asked[offsets[1:][some] - 1] = NO_TIME if now is None else now[some]
    return asked


def newest_spans(offsets: Tensor, max_len: int) -> Spans:
    """Return the newest events, at most ``max_len``, of each viewer who has any; ``offsets`` is ``[U + 1]``."""
    length_U = offsets.diff().clamp(max=max_len)
    some_U = length_U > 0
    return Spans((offsets[1:] - length_U)[some_U], length_U[some_U])


def training_spans(offsets: Tensor, max_len: int) -> Spans:
    """Return spans that hold every event with a successor exactly once.

    A history longer than ``max_len`` is cut at places that differ from call to call, so that no event is always the
    one without a past. Draws from torch's generator.
    """
    rows_U = (offsets.diff() - 1).clamp(min=0)
    long_U = rows_U > max_len
    shift_U = torch.randint(max_len, rows_U.shape, device=rows_U.device) * long_U
    pieces_U = (rows_U + shift_U + max_len - 1) // max_len
    owner_B = torch.repeat_interleave(pieces_U)
    piece_B = torch.arange(len(owner_B), device=rows_U.device) - (pieces_U.cumsum(0) - pieces_U)[owner_B]
    first_B = piece_B * max_len - shift_U[owner_B]
    last_B = torch.minimum(first_B + max_len, rows_U[owner_B])
    first_B = first_B.clamp(min=0)
    return Spans(offsets[owner_B] + first_B, last_B - first_B)


def drawn(spans: Spans, rows: int) -> Spans:
    """Return some of the spans, drawn evenly, of about ``rows`` events together; all of them where they hold no more.

    Draws from torch's generator only where there are more.
    """
    if int(spans.length_B.sum()) <= rows:
        return spans
    order = torch.randperm(len(spans), device=spans.length_B.device)
    return spans.take(order[: int((spans.length_B[order].cumsum(0) <= rows).sum()) or 1])


def bucketed(spans: Spans, batch_rows: int) -> Iterator[Tensor]:
    """Yield positions of spans of like length, about ``batch_rows`` events together, in random order.

    Draws from torch's generator; which spans meet differs from call to call.
    """
    # Noise in the order keeps spans from always meeting the same ones, at the price of a little padding.
    noise = 1 + 0.1 * torch.rand(len(spans), device=spans.length_B.device)
    order = torch.argsort(spans.length_B * noise, stable=True)
    events = spans.length_B[order].cumsum(0)
    group = (events - 1) // batch_rows
    batches = torch.split(order, torch.bincount(group).tolist()) if len(order) else ()
    kept = [batch for batch in batches if len(batch)]
    for index in torch.randperm(len(kept)).tolist():
        yield kept[index]
