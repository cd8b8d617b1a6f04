"""A replica that turns to another bundle while it answers by the one that it has."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from pyarrow.fs import LocalFileSystem

from foveate.bundle import Bundle
from foveate_serve.bundles import slots as holder_module
from foveate_serve.bundles.loading import load_ranker
from foveate_serve.bundles.slots import BundleSlots
from foveate_serve.names import BUNDLE_KEY
from foveate_serve.replica import load_bundle


class Slow:
    """Reads what a ranker needs, once it may; the first bundle at once."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.asked: list[Path] = []

    def __call__(self, path: Path) -> Bundle:
        self.asked.append(path)
        if len(self.asked) > 1:
            assert self.may.wait(30)
        return load_ranker(path)


def again(bundle: Bundle, path: Path) -> Bundle:
    return Bundle.save(bundle.model, path, data_hash="", parent=path.name)


async def until_holds(slots: BundleSlots, bundle_id: str) -> None:
    async with asyncio.timeout(30):
        while slots.status().bundle_id != bundle_id:
            await asyncio.sleep(0.01)


def test_the_first_bundle_is_waited_for(small_bundle: Bundle) -> None:
    slots = BundleSlots("ranker", load_ranker)
    asyncio.run(slots.swap(small_bundle.path, beside=True))
    assert slots.status().bundle_id == small_bundle.bundle_id


def test_a_replica_answers_by_the_old_bundle_while_it_takes_another(small_bundle: Bundle, tmp_path: Path) -> None:
    second, third, fourth = (again(small_bundle, tmp_path / name) for name in ("second", "third", "fourth"))

    async def story() -> None:
        load = Slow()
        slots = BundleSlots("ranker", load)
        await slots.swap(small_bundle.path, beside=True)
        await slots.swap(second.path, beside=True)
        async with asyncio.timeout(30):
            while len(load.asked) < 2:
                await asyncio.sleep(0.01)
        # What comes while one is being taken waits; what a later one replaces is not taken at all.
        await slots.swap(third.path, beside=True)
        await slots.swap(fourth.path, beside=True)
        assert slots.status().bundle_id == small_bundle.bundle_id
        assert slots.status().problem is None
        load.may.set()
        await until_holds(slots, fourth.bundle_id)
        assert load.asked == [small_bundle.path, second.path, fourth.path]
        assert slots.status().previous == second.bundle_id

    asyncio.run(story())


def test_of_two_ways_to_turn_the_later_bundle_is_the_one_that_stays(small_bundle: Bundle, tmp_path: Path) -> None:
    second, third = (again(small_bundle, tmp_path / name) for name in ("second", "third"))

    async def story() -> None:
        load = Slow()
        slots = BundleSlots("ranker", load)
        await slots.swap(small_bundle.path, beside=True)
        await slots.swap(second.path, beside=True)
        waiting = asyncio.create_task(slots.swap(third.path, beside=False))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        load.may.set()
        await waiting
        assert slots.status().bundle_id == third.bundle_id

    asyncio.run(story())


def test_a_bundle_that_cannot_be_used_leaves_the_old_one_and_says_why(small_bundle: Bundle, tmp_path: Path) -> None:
    async def story() -> None:
        slots = BundleSlots("ranker", load_ranker)
        await slots.swap(small_bundle.path, beside=True)
        await slots.swap(tmp_path, beside=True)
        async with asyncio.timeout(30):
            while not slots.status().refused:
                await asyncio.sleep(0.01)
        assert slots.status().bundle_id == small_bundle.bundle_id
        assert slots.status().asked == str(tmp_path)

    asyncio.run(story())


def test_a_replica_without_a_bundle_asks_its_store_again_until_that_answers(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder_module, "AGAIN_S", 0.05)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = LocalFileSystem().normalize_path(str(tmp_path / "store" / "bundle"))

    async def story() -> None:
        slots = BundleSlots("ranker", load_ranker)
        await slots.swap(f"file://{store}", beside=True)
        assert slots.status().problem
        assert slots.status().bundle_id is None
        shutil.copytree(small_bundle.path, store)
        await until_holds(slots, small_bundle.bundle_id)
        assert slots.status().problem is None

    asyncio.run(story())


def test_outside_serve_a_bundle_is_waited_for(small_bundle: Bundle, tmp_path: Path) -> None:
    second = again(small_bundle, tmp_path / "second")

    async def story() -> None:
        slots = BundleSlots("ranker", load_ranker)
        for bundle in (small_bundle, second):
            await load_bundle(slots, {BUNDLE_KEY: str(bundle.path)})
            assert slots.status().bundle_id == bundle.bundle_id

    asyncio.run(story())
