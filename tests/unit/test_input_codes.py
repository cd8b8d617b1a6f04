"""Which bucket each fact falls into."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import torch

from foveate.core.messages import NO_TIME
from foveate.data.catalog import Catalog
from foveate.data.events import Facts, Histories
from foveate.data.schema import EVENT_KINDS, ITEM_ID, ITEMS
from foveate.encoder.batch import EventArrays, SequenceBatch, newest_spans
from foveate.encoder.inputs.base import log_buckets
from foveate.encoder.inputs.duration import Duration
from foveate.encoder.inputs.event_kind import EventKind
from foveate.encoder.inputs.request_time import RequestTime
from foveate.encoder.inputs.time_gap import TimeGap
from foveate.encoder.inputs.title import Title
from foveate.encoder.inputs.watch_ratio import WatchRatio

SECOND = 1_000_000
SUNDAY = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


def stamp(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND


def batch(times: list[int], facts: Facts | None = None, now: int = NO_TIME) -> SequenceBatch:
    """One viewer's events beside those of a longer history."""
    rows = [np.zeros(len(times), dtype=np.int32), np.zeros(len(times) + 2, dtype=np.int32)]
    plain = Histories.of(rows, 1, [np.array(times), np.zeros(len(times) + 2, dtype=np.int64)])
    if facts is not None:
        other = Facts.unknown(len(times) + 2)
        both = (np.concatenate([getattr(facts, f.name), getattr(other, f.name)]) for f in dataclasses.fields(Facts))
        plain = dataclasses.replace(plain, facts=Facts(*both))
    events = EventArrays.of(plain, torch.device("cpu"), now=np.array([now, NO_TIME]))
    return events.batch(newest_spans(torch.tensor(plain.offsets), 50))


def test_log_buckets_double() -> None:
    values = torch.tensor([-5, 0, 1, 2, 3, 6, 7, 10**9])
    assert log_buckets(values, 8).tolist() == [1, 1, 2, 2, 3, 3, 4, 7]


def test_a_gap_is_the_time_since_the_event_before() -> None:
    times = [0, 0, 7 * SECOND, NO_TIME, 9 * SECOND, 4 * SECOND]
    assert TimeGap().codes(batch(times))[0, :, 0].tolist() == [0, 0, 0, 1, 4, 0, 0, 1]


def test_a_kind_is_its_place_and_padding_has_none() -> None:
    kinds = np.array([0, 3, -1, len(EVENT_KINDS) - 1], dtype=np.int8)
    facts = dataclasses.replace(Facts.unknown(4), kinds=kinds)
    assert EventKind().codes(batch([0] * 4, facts))[0, :, 0].tolist() == [0, 0, 1, 4, 0, len(EVENT_KINDS)]


def test_a_share_falls_into_its_tenth() -> None:
    watched = np.array([0.0, 0.35, 1.0, 1.99, 50.0, np.nan, np.inf], dtype=np.float32)
    facts = dataclasses.replace(Facts.unknown(7), watched=watched)
    assert WatchRatio().codes(batch([0] * 7, facts))[0, 2:, 0].tolist() == [1, 4, 11, 20, 21, 0, 21]


def test_a_request_knows_its_clock_and_how_long_the_viewer_was_away() -> None:
    first, second = SUNDAY, SUNDAY + timedelta(minutes=45)
    codes = RequestTime().codes(batch([stamp(first), stamp(second)], now=stamp(second + timedelta(days=2))))
    # The request of an event is the event that followed: on Monday after midnight, then on Wednesday.
    assert codes[0].tolist() == [[0, 0, 0], [0, 0, 0], [12, 1, 1], [18, 1, 3]]
    assert RequestTime().codes(batch([stamp(first)]))[0, -1].tolist() == [0, 0, 0]


def catalog(**columns: list[object]) -> Catalog:
    count = len(next(iter(columns.values())))
    given = {ITEM_ID: [f"v{n}" for n in range(count)], **columns}
    blanks = {name: [None] * count for name in ITEMS if name not in given}
    return Catalog(pl.DataFrame({**given, **blanks}, schema_overrides=ITEMS))


def test_lengths_share_a_bucket_by_their_ratio() -> None:
    bag = Duration(per_octave=2).facts(catalog(duration_seconds=[0.0, 60.0, 62.0, 120.0, None, 7200.0]))
    assert np.diff(bag.offsets).tolist() == [1, 1, 1, 1, 0, 1]
    zero, minute, alike, double, film = bag.codes.tolist()
    assert zero == 0
    assert minute == alike == double - 2
    assert film > double


def test_words_are_told_apart_but_not_by_their_case() -> None:
    bag = Title(buckets=1 << 20).facts(catalog(title=["Big CATS, small cats", "big", None, "…"]))
    assert np.diff(bag.offsets).tolist() == [4, 1, 0, 0]
    big, cats, small, again, alone = bag.codes.tolist()
    assert cats == again
    assert big == alone
    assert len({big, cats, small}) == 3
