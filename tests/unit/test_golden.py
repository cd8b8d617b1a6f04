"""A bundle whose checksums hold is still refused where it answers otherwise than when it was made."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from foveate.bundle import Bundle, default_state, golden
from foveate.bundle.manifest import entry_of, read_manifest
from foveate.core.errors import BundleError, ConfigError
from foveate.releases import Releases
from foveate.state.sqlite.store import SqliteState
from foveate_serve.bundles.loading import load_all, load_catalogue, load_ranker, load_sources
from foveate_serve.bundles.slots import BundleSlots


def sealed(folder: Path) -> Path:
    """Give every checksum of a bundle that was tampered with, so that only what it answers betrays it."""
    manifest = read_manifest(folder)
    files = {name: entry_of((folder / name).read_bytes()) for name in manifest.files}
    replace(manifest, files=files).identified().write(folder)
    return folder


@pytest.fixture
def copy(small_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bundle.path, tmp_path / "copy"))


def change(path: Path, key: str, values: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    arrays = load_file(path)
    arrays[key] = np.ascontiguousarray(values(arrays[key]).astype(arrays[key].dtype))
    save_file(arrays, path)


def weaken_a_source(folder: Path) -> None:
    path = folder / "sources" / "popularity.safetensors"
    [key] = [name for name, array in load_file(path).items() if array.ndim and array.dtype.kind == "f"][:1]
    change(path, key, lambda values: values[::-1])


def weaken_the_ranker(folder: Path) -> None:
    path = sorted((folder / "ranker").iterdir())[0]
    lines = path.read_text().splitlines(keepends=True)
    row = next(number for number, line in enumerate(lines) if line.startswith("leaf_value="))
    # Of the same length: LightGBM counts the bytes of its trees.
    lines[row] = lines[row].replace("0.", "7.")
    path.write_text("".join(lines))


def expect_another_slate(folder: Path) -> None:
    path = folder / golden.FILE
    content = json.loads(path.read_text())
    content["requests"][0]["slate"].reverse()
    path.write_text(json.dumps(content))


def expect_another_item(folder: Path) -> None:
    path = folder / golden.FILE
    path.write_text(path.read_text().replace('"scores"', '"scores "', 1))


def test_a_good_bundle_answers_its_golden_requests_in_every_part(small_bundle: Bundle) -> None:
    assert small_bundle.golden
    assert len(small_bundle.golden.requests) == 4
    for request in small_bundle.golden.requests:
        assert 8 <= len(request.items) <= 24
        assert 0 < len(request.slate) <= len(request.items)
        assert len(request.ranked) == len(request.items)
    for load in (load_all, load_catalogue, load_sources, load_ranker):
        assert load(small_bundle.path).golden == small_bundle.golden
    assert (small_bundle.path / golden.FILE).stat().st_size < 60_000


def test_golden_requests_come_from_the_catalogue_and_from_no_viewer(small_bundle: Bundle) -> None:
    assert small_bundle.golden
    ids = set(small_bundle.model.catalog.items.ids)
    with SqliteState(default_state(small_bundle.path), create=False) as state:
        watched = [state.history(user).item_ids for user in state.users(300)]
    for request in small_bundle.golden.requests:
        assert set(request.history) | set(request.items) <= ids
        if len(request.history) > 2:
            assert request.history not in [history[: len(request.history)] for history in watched]


def test_what_is_not_finite_is_written_and_read(small_bundle: Bundle) -> None:
    assert small_bundle.golden
    odd = replace(small_bundle.golden.requests[0], scores=((float("nan"), float("-inf"), 1.5),))
    again = golden.Golden.read(replace(small_bundle.golden, requests=(odd,)).written())
    np.testing.assert_array_equal(again.requests[0].scores, odd.scores)


@pytest.mark.parametrize(
    ("tamper", "refuses", "said"),
    [
        (weaken_a_source, load_sources, "is not retrieved any more"),
        (weaken_the_ranker, load_ranker, "the ranker scores item"),
        (expect_another_slate, load_ranker, "the slate is"),
        (expect_another_item, load_catalogue, "scores "),
    ],
)
def test_a_tampered_bundle_with_valid_checksums_is_refused_by_the_part_that_answers_otherwise(
    copy: Path, tamper: Callable[[Path], None], refuses: Callable[[Path], Bundle], said: str
) -> None:
    tamper(copy)
    with pytest.raises(BundleError, match=r"checksum|bytes"):
        Bundle.load(copy)
    sealed(copy)
    with pytest.raises(BundleError, match=said):
        refuses(copy)


def test_what_answers_otherwise_is_not_promoted(copy: Path, tmp_path: Path) -> None:
    weaken_the_ranker(copy)
    sealed(copy)
    releases = Releases(tmp_path / "registry")
    with pytest.raises(BundleError, match="golden request"):
        releases.promote(copy, None, because="for a test")
    assert releases.current() is None


def test_a_ranker_of_other_columns_is_refused(copy: Path) -> None:
    for path in (copy / "ranker").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        row = next(number for number, line in enumerate(lines) if line.startswith("feature_names="))
        first, *others = lines[row].removeprefix("feature_names=").split()
        lines[row] = "feature_names=" + " ".join([first[::-1], *others]) + "\n"
        path.write_text("".join(lines))
    sealed(copy)
    with pytest.raises((BundleError, ConfigError), match="column"):
        load_ranker(copy)


def test_a_holder_keeps_the_old_bundle_and_says_why(
    small_bundle: Bundle, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weaken_the_ranker(copy)
    sealed(copy)
    told: list[Bundle | None] = []
    slots = BundleSlots("ranker", load_ranker, told.append)
    asyncio.run(slots.load(small_bundle.path))
    with caplog.at_level("ERROR", "ray.serve"):
        asyncio.run(slots.load(copy))
    status = slots.status()
    assert status.bundle_id == small_bundle.bundle_id
    assert status.refused
    assert status.asked == str(copy)
    assert status.problem
    assert "golden request" in status.problem
    assert "golden request" in caplog.text
    assert [one.bundle_id if one else None for one in told] == [small_bundle.bundle_id, None]
    # Told to go back, it has no problem any more.
    asyncio.run(slots.load(small_bundle.path))
    assert slots.status().problem is None
    assert slots.status().bundle_id == small_bundle.bundle_id


def test_a_bundle_behind_a_link_is_remembered_by_where_the_link_led(small_bundle: Bundle, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(small_bundle.path)
    loaded: list[Path] = []

    def load(path: Path) -> Bundle:
        loaded.append(path)
        return load_catalogue(path)

    slots = BundleSlots("ingress", load)
    asyncio.run(slots.load(link))
    assert loaded == [small_bundle.path.resolve()]
    assert slots.status().asked == str(link)
