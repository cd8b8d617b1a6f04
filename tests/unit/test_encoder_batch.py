"""Spans of histories: every event with a successor is a training row exactly once, and padding stands on the left."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from foveate.core.messages import NO_TIME
from foveate.data.events import Histories
from foveate.encoder.batch import EventArrays, Spans, bucketed, drawn, newest_spans, training_spans

LENGTHS = [0, 1, 2, 3, 5, 6, 7, 0, 23, 50, 1]


def offsets(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()])


def events(count: int) -> EventArrays:
    """Event ``n`` is item ``100 + n`` at time ``n``, all of them one viewer's."""
    place_N = np.arange(count)
    histories = Histories.of([(100 + place_N).astype(np.int32)], 100 + count, [place_N])
    return EventArrays.of(histories, torch.device("cpu"))


def rows_of(spans: Spans) -> list[int]:
    pairs = zip(spans.start_B.tolist(), spans.length_B.tolist(), strict=True)
    return [row for start, length in pairs for row in range(start, start + length)]


@pytest.mark.parametrize("max_len", [1, 2, 5, 64])
def test_every_event_with_a_successor_is_a_row_once(max_len: int) -> None:
    ends = offsets(LENGTHS)
    last = set((ends[1:] - 1)[ends.diff() > 0].tolist())
    expected = sorted(set(range(sum(LENGTHS))) - last)
    for seed in range(5):
        torch.manual_seed(seed)
        spans = training_spans(ends, max_len)
        assert sorted(rows_of(spans)) == expected
        assert spans.length_B.max() <= max_len
        assert spans.length_B.min() >= 1


def test_a_long_history_is_cut_at_changing_places() -> None:
    cuts = {tuple(training_spans(offsets([50]), 10).start_B.tolist()) for _ in range(20)}
    assert len(cuts) > 1


def test_no_successor_gives_no_span() -> None:
    spans = training_spans(offsets([0, 1, 1]), 5)
    assert len(spans) == 0
    assert list(bucketed(spans, 10)) == []


def test_buckets_hold_every_span_once_with_little_padding() -> None:
    torch.manual_seed(0)
    spans = Spans(torch.arange(500), torch.randint(1, 40, (500,)))
    batches = list(bucketed(spans, 200))
    assert Counter(torch.cat(batches).tolist()) == Counter(range(500))
    area = sum(int(spans.length_B[batch].max()) * len(batch) for batch in batches)
    assert area < 1.3 * spans.length_B.sum()
    assert max(int(spans.length_B[batch].sum()) for batch in batches) < 200 + 40


def test_padding_stands_on_the_left_and_successors_follow() -> None:
    arrays, spans = events(10), Spans(torch.tensor([0, 4, 8]), torch.tensor([3, 4, 1]))
    batch = arrays.batch(spans)
    assert batch.padded
    assert batch.valid_BL.sum(dim=1).tolist() == [3, 4, 1]
    assert batch.items_BL.tolist() == [[0, 100, 101, 102], [104, 105, 106, 107], [0, 0, 0, 108]]
    assert batch.times_BL[2].tolist() == [NO_TIME, NO_TIME, NO_TIME, 8]
    assert arrays.successors(spans).tolist() == [1, 2, 3, 5, 6, 7, 8, 9]
    assert (arrays.items_N[arrays.successors(spans)] == batch.items_BL[batch.valid_BL] + 1).all()


def test_spans_of_one_length_need_no_padding() -> None:
    batch = events(10).batch(Spans(torch.tensor([0, 5]), torch.tensor([4, 4])))
    assert not batch.padded
    assert batch.valid_BL.all()


def test_the_newest_events_are_read_of_those_who_have_any() -> None:
    spans = newest_spans(offsets([0, 2, 7, 0]), 3)
    assert rows_of(spans) == [0, 1, 6, 7, 8]


def test_a_draw_takes_whole_spans_of_about_so_many_rows() -> None:
    spans = Spans(torch.arange(0, 500, 5), torch.full((100,), 5))
    draws = []
    for seed in range(3):
        torch.manual_seed(seed)
        some = drawn(spans, 52)
        assert int(some.length_B.sum()) == 50
        assert set(some.start_B.tolist()) <= set(spans.start_B.tolist())
        draws.append(tuple(some.start_B.tolist()))
    assert len(set(draws)) == 3
    assert len(drawn(spans, 3)) == 1


def test_a_draw_of_more_than_there_is_takes_all_and_draws_nothing() -> None:
    spans = Spans(torch.arange(4), torch.ones(4, dtype=torch.long))
    before = torch.get_rng_state()
    assert drawn(spans, 4) is spans
    assert torch.equal(torch.get_rng_state(), before)
