"""Times the stages of a bundle in this process, batch by batch, on one core."""

from __future__ import annotations

import asyncio
import pickle
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from foveate.bundle import Bundle
from foveate.core.messages import PastEvent, RecommendRequest, RequestContext
from foveate.recommend.pipeline import hydrate, make_context, rank, retrieve, select
from foveate.state.base import ServedRequest, ViewerState, utc_micros
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState
from foveate_capacity.costs import HANDOVER, RECORD, Point
from foveate_capacity.footprint import size_of
from foveate_serve.stages.batcher import Batcher

R = TypeVar("R")

BATCHES: Final = (1, 2, 4, 8, 16, 32)
_VIEWERS, _EVENTS = 512, 50
_SLATE = 20
_LEAST_BATCHES = 12
"""Batches of one size that are timed, at least."""


@dataclass(frozen=True)
class Asked:
    """Who asks: requests, and where their histories are read."""

    requests: tuple[RecommendRequest, ...]
    state: ViewerState

    @classmethod
    def of(cls, bundle: Bundle, state: SqliteState) -> Asked:
        """Take viewers out of the store, or visitors who watched some videos where it has none."""
        users = state.users(_VIEWERS)
        if users:
            return cls(tuple(RecommendRequest(user, k=_SLATE) for user in users), state)
        rng, ids = np.random.default_rng(0), bundle.model.catalog.items.ids
        pasts = (rng.choice(len(ids), min(_EVENTS, len(ids)), replace=False) for _ in range(_VIEWERS))
        visits = (tuple(PastEvent(ids[item]) for item in past) for past in pasts)
        return cls(tuple(RecommendRequest("", k=_SLATE, surface="session", history=past) for past in visits), state)


@dataclass(frozen=True)
class Timed:
    """Points of the stages and of the sources, and bytes of one request: on hops, and of its record on disk."""

    stages: tuple[Point, ...]
    sources: tuple[Point, ...]
    to_retriever: float
    to_ranker: float
    recorded: float


def time_stages(bundle: Bundle, asked: Asked, seconds: float) -> Timed:
    """Time every stage for batches of one to 32 requests.

    The time is that of the thread at work, so that other processes on the machine do not count.

    Parameters
    ----------
    seconds
        About how long all of it may take.
    """
    with _one_thread(), TemporaryDirectory(prefix="foveate-") as scratch:
        kept = Path(scratch) / "record.sqlite"
        sink = SqliteImpressions(kept)
        bench = _Bench(bundle, asked, sink)
        share = seconds / len(BATCHES) / 2
        stages = [point for size in BATCHES for point in bench.whole(size, share)]
        recorded = size_of(kept) / bench.offset
        sources = [point for size in BATCHES for point in bench.alone(size, share / 2)]
        transfer_bytes = bench.transfer_bytes(64)
    return Timed((*stages, *_handovers(seconds / 12)), tuple(sources), *transfer_bytes, recorded)


class _Watch:
    """Keeps how long this thread was at work on each kind of batch."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}

    def of(self, stage: str, work: Callable[[], R]) -> R:
        """Do the work and note its time."""
        began = time.thread_time()
        found = work()
        self.took.setdefault(stage, []).append(time.thread_time() - began)
        return found


class _Bench:
    """Batches of one bundle."""

    def __init__(self, bundle: Bundle, asked: Asked, sink: SqliteImpressions) -> None:
        self.model, self.bundle_id, self.items = bundle.model, bundle.bundle_id, len(bundle.model.catalog)
        self.asked = asked
        self.sink = sink
        self.offset = 0

    def batch(self, size: int) -> tuple[list[RecommendRequest], list[RequestContext]]:
        """Return the next requests, each with a context of its own."""
        rows = [(self.offset + row) % len(self.asked.requests) for row in range(size)]
        self.offset += size
        requests = [self.asked.requests[row] for row in rows]
        return requests, [make_context(one, self.bundle_id, clock=utc_micros) for one in requests]

    def whole(self, size: int, seconds: float) -> Iterator[Point]:
        """Time all stages one after the other, as a request goes."""
        watch = _Watch()
        for _ in _repeats(seconds):
            self._once(size, watch)
        for stage, own in watch.took.items():
            yield _point(stage, self.items, size, own)

    def _once(self, size: int, watch: _Watch) -> None:
        model, (requests, contexts) = self.model, self.batch(size)
        hydrated = watch.of("hydrate", lambda: hydrate(model, self.asked.state, requests, contexts))
        queries = [query for query, _ in hydrated]
        candidates = watch.of("retrieve", lambda: retrieve(model, queries, contexts))
        ranked = watch.of("rank", lambda: rank(model, queries, candidates, contexts))
        slates = watch.of("select", lambda: select(model, requests, ranked, contexts))
        served = [ServedRequest(*one) for one in zip(requests, contexts, slates, strict=True)]
        watch.of(RECORD, lambda: self.sink.write(served))

    def alone(self, size: int, seconds: float) -> Iterator[Point]:
        """Time each source by itself."""
        requests, contexts = self.batch(size)
        queries = [query for query, _ in hydrate(self.model, self.asked.state, requests, contexts)]
        for source, count in zip(self.model.sources, self.model.recipe.counts, strict=True):
            watch = _Watch()
            for _ in _repeats(seconds / len(self.model.sources)):
                watch.of(source.name, partial(source.ask, queries, count))
            yield _point(source.name, self.items, size, watch.took[source.name])

    def transfer_bytes(self, size: int) -> tuple[float, float]:
        """Return the mean bytes that go to a retriever, and to and from a ranker with the candidates."""
        requests, contexts = self.batch(size)
        queries = [query for query, _ in hydrate(self.model, self.asked.state, requests, contexts)]
        found = retrieve(self.model, queries, contexts)
        to_retriever = [pickle.dumps((query, context)) for query, context in zip(queries, contexts, strict=True)]
        rows = zip(requests, queries, found, contexts, strict=True)
        to_ranker = [pickle.dumps((one, query, own, context)) for one, query, own, context in rows]
        return statistics.fmean(map(len, to_retriever)), statistics.fmean(map(len, to_ranker))


def _handovers(seconds: float) -> list[Point]:
    """Time batchers that have nothing to do: all of this process's time, for two threads are at work."""
    points = []
    for size in BATCHES:
        batcher: Batcher[int, int] = Batcher(HANDOVER, list, size)
        own = asyncio.run(_handed(batcher, size, seconds / len(BATCHES)))
        points.append(_point(HANDOVER, 0, size, own))
    return points


async def _handed(batcher: Batcher[int, int], size: int, seconds: float) -> list[float]:
    own = []
    for _ in _repeats(seconds):
        began = time.process_time()
        for _ in range(10):
            await asyncio.gather(*(batcher.ask(call) for call in range(size)))
        own.append((time.process_time() - began) / 10)
    return own


def _repeats(seconds: float, warm_up: int = 2) -> Iterator[int]:
    """Count until the time is over, and to a number that gives a median at least."""
    end, offset = time.perf_counter() + seconds, 0
    while offset < _LEAST_BATCHES + warm_up or time.perf_counter() < end:
        yield offset
        offset += 1


def _point(stage: str, items: int, size: int, seconds: Sequence[float], warm_up: int = 2) -> Point:
    own = list(seconds)[warm_up:]
    return Point(stage, items, size, statistics.median(own), float(np.percentile(own, 99)))


class _one_thread:  # noqa: N801 - reads as a verb where it is used
    """One core for torch and for what numpy and LightGBM stand on, as a replica has it."""

    def __enter__(self) -> None:
        self._threads = torch.get_num_threads()
        torch.set_num_threads(1)
        self._limits = threadpool_limits(1)

    def __exit__(self, *_: object) -> None:
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)
