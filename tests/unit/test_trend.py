"""What is popular at the moment, in an encoder's scores: counted as of each moment, learned, indexed and renewed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from foveate.core.config import from_dict
from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.data.schema import ITEMS
from foveate.data.worker_group import partition
from foveate.encoder.distributed.process_group import ProcessGroup
from foveate.encoder.embedding.mapped import MappedEncoder
from foveate.encoder.model import EncoderConfig
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.trend import Moments, counts_at
from foveate.retrieval.attention import Attention, AttentionSource
from foveate.retrieval.base import FitContext

DAY = 86_400_000_000
START = 1_650_000_000_000_000
N_ITEMS = 12
NOW = START + 40 * DAY


def catalog() -> Catalog:
    blank = {name: [None] * N_ITEMS for name in ITEMS if name != "item_id"}
    return Catalog(pl.DataFrame({"item_id": [f"v{i}" for i in range(N_ITEMS)], **blank}, schema=ITEMS))


def moving() -> Histories:
    """60 viewers: in the first 20 days they watch the first items, later the last ones; a few events have no time."""
    rng = np.random.default_rng(0)
    items, times = [], []
    for _ in range(60):
        days = np.sort(rng.uniform(0, 40, 8))
        items.append(np.where(days < 20, rng.integers(0, 6, 8), rng.integers(6, 12, 8)).astype(np.int32))
        times.append((START + days * DAY).astype(np.int64))
        times[-1][0] = NO_TIME
    return Histories.of(items, N_ITEMS, times)


def context(histories: Histories, now: int = NOW) -> FitContext:
    return FitContext(histories, catalog(), now, 0)


def query(items: np.ndarray, now: int = NOW) -> Query:
    n = len(items)
    return Query(
        user_id="someone",
        items=items.astype(np.int32),
        times=np.full(n, NOW - DAY),
        kinds=np.full(n, 2, dtype=np.int8),
        values=np.ones(n, dtype=np.float32),
        positives=np.ones(n, dtype=bool),
        exclude=items.astype(np.int32),
        now=now,
    )


def config(**changes: Any) -> Attention:
    encoder = {"width": 8, "blocks": 1, "scorer": "dot_product", "trend": [2, 20], **changes}
    return from_dict(Attention, {"encoder": encoder, "train": {"epochs": 3}})


@pytest.fixture(scope="module")
def source() -> AttentionSource:
    return config().fit(context(moving()))


def logs(histories: Histories, before: int) -> np.ndarray:
    """The definition, event by event."""
    counts = np.zeros((N_ITEMS, 3))
    for item, time in zip(histories.items.tolist(), histories.times.tolist(), strict=True):
        if time == NO_TIME:
            counts[item, 0] += 1
        elif time < before:
            age = (before - time) / DAY
            counts[item] += [1.0, 2 ** (-age / 2), 2 ** (-age / 20)]
    found = np.log(counts + np.array([1.0, 0.1, 0.1]))
    return found - found.mean(axis=0)


def test_counts_are_those_before_each_moment_and_halve() -> None:
    histories = moving()
    moments, newest = counts_at(histories, (2.0, 20.0), NOW, ProcessGroup(), torch.device("cpu"))
    np.testing.assert_allclose(newest.numpy(), logs(histories, NOW), atol=1e-4)
    for number in (0, 1, 17, len(moments.starts_K) - 1):
        before = int(moments.starts_K[number])
        np.testing.assert_allclose(moments.log_IKH[:, number].numpy(), logs(histories, before), atol=1e-4)


class Halves(ProcessGroup):
    """Two processes in turn: what the first brought to a sum is added to what the second brings."""

    def __init__(self, earliest: int) -> None:
        super().__init__()
        object.__setattr__(self, "earliest", earliest)
        object.__setattr__(self, "brought", [])

    def total(self, value: torch.Tensor) -> torch.Tensor:
        self.brought.append(value)  # type: ignore[attr-defined]
        return torch.stack(self.brought).sum(dim=0)  # type: ignore[attr-defined]

    def least(self, value: torch.Tensor) -> torch.Tensor:
        return value.clamp(max=self.earliest)  # type: ignore[attr-defined]


def test_processes_count_together_what_one_counts() -> None:
    whole, cpu = moving(), torch.device("cpu")
    halves = Halves(int(whole.times[whole.times != NO_TIME].min()))
    for half in partition(whole, 2):
        moments, newest = counts_at(half, (2.0, 20.0), NOW, halves, cpu)
    alone, newest_alone = counts_at(whole, (2.0, 20.0), NOW, ProcessGroup(), cpu)
    np.testing.assert_array_equal(moments.starts_K, alone.starts_K)
    np.testing.assert_allclose(moments.log_IKH, alone.log_IKH, atol=1e-5)
    np.testing.assert_allclose(newest, newest_alone, atol=1e-5)


def test_a_row_reads_no_moment_after_its_own() -> None:
    moments = Moments(torch.tensor([0, 10, 20, 30]), torch.zeros(N_ITEMS, 4, 3))
    times = torch.tensor([0, 9, 10, 25, 99, NO_TIME]).repeat(50)
    one_hot = moments.of(times)
    assert one_hot.sum(dim=1).eq(1).all()
    read = moments.starts_K[one_hot.argmax(dim=1)]
    assert ((read <= times) | (times == NO_TIME)).all()
    assert read[times == NO_TIME].eq(0).all()
    assert len(set(read[times == 99].tolist())) > 1


def test_somebody_new_gets_what_is_popular_now_and_it_is_found_alike_everywhere(source: AttentionSource) -> None:
    newcomer, known = query(np.empty(0)), query(np.array([7, 8]))
    scores = source.scores([newcomer, known])
    assert scores[0, 6:].min() > scores[0, :6].max()
    best = np.argsort(-scores[0], kind="stable")[:3]
    np.testing.assert_array_equal(source.ask([newcomer], 3).tops[0], best)
    asked = source.answer(source.encode([newcomer, known]), [best, best])
    for row in range(2):
        np.testing.assert_allclose(asked.scores_of(row, np.arange(N_ITEMS)), scores[row], atol=1e-5)
    dots = source.encoder.user_dots(source.encode([known]).user_BD) @ source.encoder.item_dots.T
    np.testing.assert_allclose(dots[0], scores[1], atol=1e-5)


def test_an_index_finds_what_is_popular(source: AttentionSource) -> None:
    looked_up = replace(config(), index=from_dict(type(config().index), {"exact_up_to": 1}))
    found = looked_up.fit(context(moving()))
    assert found.finder is not None
    newcomer = query(np.empty(0))
    np.testing.assert_array_equal(found.ask([newcomer], 4).tops[0], source.ask([newcomer], 4).tops[0])


def test_it_is_the_same_after_it_was_written(source: AttentionSource) -> None:
    again = config().restore(source.arrays(), catalog())
    asked = [query(np.empty(0)), query(np.array([3]))]
    np.testing.assert_array_equal(again.scores(asked), source.scores(asked))


@pytest.mark.parametrize("changes", [{}, {"head": "fully_connected"}])
def test_renewed_it_knows_other_counts_and_is_else_the_same(changes: dict[str, Any]) -> None:
    older = START + 20 * DAY
    histories = moving()
    fitted = config(**changes).fit(context(histories))
    before = (histories.times < older) & (histories.times != NO_TIME)
    own = [(histories.rows(user), before[histories.rows(user)]) for user in range(histories.n_users)]
    early = Histories.of(
        [histories.items[rows][kept] for rows, kept in own],
        N_ITEMS,
        [histories.times[rows][kept] for rows, kept in own],
    )
    back = fitted.renewed(context(early, older))
    assert isinstance(back, AttentionSource)
    newcomer, known = query(np.empty(0)), query(np.array([7, 8]))
    assert back.scores([newcomer])[0, :6].min() > back.scores([newcomer])[0, 6:].max()
    apart, later = (s.scores([known])[0] - s.scores([newcomer])[0] for s in (fitted, back))
    np.testing.assert_allclose(apart, later, atol=1e-4)
    assert fitted.scores([newcomer])[0, 6:].min() > fitted.scores([newcomer])[0, :6].max()


def test_a_clock_that_is_order_only_adds_nothing() -> None:
    with_trend, without = (config(**own).fit(context(moving(), NO_TIME)) for own in ({}, {"trend": []}))
    asked = [query(np.empty(0), NO_TIME), query(np.array([7, 8]), NO_TIME)]
    np.testing.assert_array_equal(with_trend.scores(asked), without.scores(asked))
    assert with_trend.renewed(context(moving(), NO_TIME)) is with_trend


def test_half_lives_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="half-lives"):
        EncoderConfig(trend=(1.0, 0.0))


@pytest.mark.parametrize("kind", [TrainedEncoder, MappedEncoder])
@pytest.mark.parametrize("changes", [{}, {"head": "fully_connected"}])
def test_an_item_that_comes_later_has_the_trend_of_one_that_nobody_watched(
    kind: type[TrainedEncoder], changes: dict[str, Any]
) -> None:
    fitted = config(**changes).fit(context(moving())).encoder
    encoder = kind.restore(fitted.config, fitted.arrays())
    longer = encoder.extended(encoder.item_vectors[[9, 2]], trust=1.0)
    known, behind = np.array([9, 2], dtype=np.int32), np.array([12, 13], dtype=np.int32)
    trend = encoder.match(torch.zeros(8))
    viewer = torch.arange(8) / 8.0
    personal = encoder.match(viewer, known) - trend[known]
    np.testing.assert_allclose(longer.match(viewer, known), encoder.match(viewer, known), atol=1e-5)
    np.testing.assert_allclose(longer.match(viewer, behind), personal + trend.min(), atol=1e-5)
    np.testing.assert_allclose(longer.match(torch.zeros(8), behind), trend.min(), atol=1e-5)
