"""Datasets, bundles and registries at an address: brought once and whole, sent whole, and changed by one at a time."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

from foveate.bundle import Bundle, verify
from foveate.core.config import from_dict
from foveate.core.errors import BundleError, ConfigError, DataError, OutputExistsError, ReleaseError
from foveate.data.dataset import Dataset, open_dataset, verify_dataset
from foveate.recommend.recipe import Recipe
from foveate.releases import Entry, Releases
from foveate.releases.store import StoreBackend
from foveate.storage.folder import Folder
from foveate.storage.transfer import absolute, local_copy, new_folder, send
from foveate.training import fit_model

WHY = "for a test"


@pytest.fixture(scope="module")
def bundles(small_world: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles of one small model under different ids."""
    recipe = from_dict(Recipe, {"sources": ["popularity"], "ranker": "z_score", "features": [], "label_windows": 1})
    model = fit_model(small_world, recipe)
    root = tmp_path_factory.mktemp("bundles")
    for seed in range(3):
        Bundle.save(model, root / str(seed), data_hash="hash", upto="all", seeds=(seed,))
    return [root / str(seed) for seed in range(3)]


@pytest.fixture
def address() -> str:
    """A place in a store in memory."""
    return f"memory://films/{uuid.uuid4().hex}"


def test_a_dataset_is_brought_once_and_anew_when_it_has_changed(
    small_world: Dataset, address: str, tmp_path: Path
) -> None:
    assert small_world.path
    send(small_world.path, Folder.at(address))
    first = local_copy(address, verify_dataset, tmp_path / "cache")
    assert open_dataset(first).manifest == small_world.manifest
    touched = first / "items.parquet"
    before = touched.stat().st_mtime_ns
    assert local_copy(address, verify_dataset, tmp_path / "cache") == first
    assert touched.stat().st_mtime_ns == before
    assert local_copy(small_world.path, verify_dataset) == small_world.path
    Folder.at(address).write("manifest.json", (first / "manifest.json").read_text() + "\n")
    assert local_copy(address, verify_dataset, tmp_path / "cache") != first


def test_what_is_damaged_on_its_way_leaves_nothing_behind(
    small_world: Dataset, bundles: list[Path], address: str, tmp_path: Path
) -> None:
    assert small_world.path
    for source, check, name in ((small_world.path, verify_dataset, "items.parquet"), (bundles[0], verify, "card.md")):
        place = Folder.at(f"{address}/{name}")
        send(source, place)
        other = small_world.path / "viewers.parquet"
        place.send(other, name)
        with pytest.raises((DataError, BundleError)):
            local_copy(str(place), check, tmp_path / "cache")
        assert not list((tmp_path / "cache").iterdir())


def test_several_bring_one_bundle_at_once(bundles: list[Path], tmp_path: Path) -> None:
    address = bundles[0].as_uri()
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(local_copy(address, verify, tmp_path / "cache"))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [found[0].name]


def test_a_manifest_cannot_lead_out_of_its_folder(address: str, tmp_path: Path) -> None:
    Folder.at(address).write("manifest.json", '{"files": {"../../outside": {}}}')
    with pytest.raises(ConfigError, match="outside of it"):
        local_copy(address, verify, tmp_path / "cache")


def test_what_is_made_goes_there_at_the_end_and_over_nothing(bundles: list[Path], address: str) -> None:
    with pytest.raises(RuntimeError), new_folder(address):
        raise RuntimeError("the power is out")
    assert not Folder.at(address).files()
    with new_folder(address) as place:
        send(bundles[0], Folder.at(place))
        assert not Folder.at(address).files()
    assert verify(local_copy(address, verify)).bundle_id == verify(bundles[0]).bundle_id
    with pytest.raises(OutputExistsError), new_folder(address):
        pass


def test_a_place_means_the_same_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("here") == absolute(Path("here")) == str(tmp_path / "here")
    assert absolute("s3://a/b") == "s3://a/b"


def test_a_registry_at_an_address_promotes_refuses_to_guess_and_rolls_back(bundles: list[Path], address: str) -> None:
    releases = Releases(address)
    assert releases.current() is None
    with pytest.raises(ReleaseError, match="'foveate promote BUNDLE' makes a registry"):
        releases.rollback()
    ids = [verify(path).bundle_id for path in bundles]
    for path in bundles:
        releases.promote(path, None, because=WHY)
    assert releases.current() == ids[2]
    assert releases.promote(bundles[2], None, because=WHY).bundle == ids[2]
    assert releases.rollback(because=WHY).bundle == ids[1]
    assert releases.rollback(because=WHY).bundle == ids[0]
    with pytest.raises(ReleaseError, match="no good bundle before"):
        releases.rollback()
    assert releases.rollback(to=ids[2][:9]).bundle == ids[2]
    assert [entry.action for entry in releases.changes()] == ["promote"] * 3 + ["rollback"] * 3


def test_a_damaged_bundle_is_passed_over_at_an_address(bundles: list[Path], address: str) -> None:
    releases = Releases(address)
    for path in bundles:
        releases.promote(path, None, because=WHY)
    middle = Folder.at(str(releases.path(verify(bundles[1]).bundle_id)))
    middle.send(bundles[0] / "manifest.json", "card.md")
    said: list[str] = []
    assert releases.rollback(because=WHY, say=said.append).bundle == verify(bundles[0]).bundle_id
    assert "passed over" in said[0]


def test_of_two_who_change_a_registry_at_once_one_is_told(bundles: list[Path], address: str) -> None:
    Releases(address).promote(bundles[0], None, because=WHY)
    one, other = StoreBackend(address), StoreBackend(address)
    line = Entry("2026-01-01T00:00:00+00:00", "promote", "x")
    assert one.history() == other.history()
    one.append(line)
    with pytest.raises(ReleaseError, match="somebody else changed it just now"):
        other.append(line)
    assert len(one.history()) == 2


def test_another_folder_is_not_taken_for_a_registry(bundles: list[Path], address: str) -> None:
    Folder.at(address).write("notes.txt", "mine")
    with pytest.raises(ReleaseError, match="already holds something"):
        Releases(address).promote(bundles[0], None, because=WHY)
