"""Micro-batches: no wait for the idle, together for the busy, and one bad call fails alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from foveate_serve.stages.batcher import Batcher


class Work:
    """Doubles numbers; keeps the size of every batch, and can be held."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, calls: Sequence[int]) -> list[int]:
        self.begun.set()
        self.go.wait()
        self.sizes.append(len(calls))
        if 13 in calls:
            raise ValueError("13")
        return [2 * call for call in calls]


def test_an_idle_batcher_starts_at_once_and_a_busy_one_gathers() -> None:
    work = Work()

    async def ask() -> list[int]:
        batcher: Batcher[int, int] = Batcher("t", work, 4)
        work.go.clear()
        calls = [asyncio.ensure_future(batcher.ask(n)) for n in range(8)]
        assert await asyncio.to_thread(work.begun.wait, 60)
        work.go.set()
        return list(await asyncio.gather(*calls))

    assert asyncio.run(ask()) == [2 * n for n in range(8)]
    assert work.sizes in ([4, 4], [1, 4, 3])


def test_what_comes_while_another_batcher_has_the_thread_is_answered_together() -> None:
    first, second = Work(), Work()

    async def ask() -> list[int]:
        thread = ThreadPoolExecutor(1)
        busy, other = Batcher("a", first, 8, thread), Batcher("b", second, 8, thread)
        first.go.clear()
        calls = [asyncio.ensure_future(busy.ask(0))]
        assert await asyncio.to_thread(first.begun.wait, 60)
        for number in range(1, 4):
            calls.append(asyncio.ensure_future(other.ask(number)))
            await asyncio.sleep(0)
        first.go.set()
        return list(await asyncio.gather(*calls))

    assert asyncio.run(ask()) == [0, 2, 4, 6]
    assert second.sizes == [3]


def test_one_bad_call_fails_alone() -> None:
    async def ask() -> list[int | BaseException]:
        batcher: Batcher[int, int] = Batcher("t", Work(), 8)
        return list(await asyncio.gather(*(batcher.ask(n) for n in (1, 13, 3)), return_exceptions=True))

    one, bad, three = asyncio.run(ask())
    assert (one, three) == (2, 6)
    assert isinstance(bad, ValueError)


def test_a_call_that_was_given_up_is_not_worked_on() -> None:
    work = Work()

    async def ask() -> None:
        batcher: Batcher[int, int] = Batcher("t", work, 1)
        work.go.clear()
        first, second, third = (asyncio.ensure_future(batcher.ask(n)) for n in (1, 2, 3))
        assert await asyncio.to_thread(work.begun.wait, 60)
        second.cancel()
        await asyncio.sleep(0)
        work.go.set()
        assert await first == 2
        assert await third == 6
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(ask())
    assert work.sizes == [1, 1]
