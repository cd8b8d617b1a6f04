"""A registry is watched where it lies, or through a copy of it at an address."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.errors import BundleError, FoveateError, ReleaseError
from foveate.releases import Releases
from foveate.releases.watch import LocalRegistry, StoredRegistry, Watched, watched
from foveate_serve.operations.follow import first_good

WHY = "for a test"


@pytest.fixture
def registry(small_bundle: Bundle, tmp_path: Path) -> Path:
    """A registry that promoted one bundle, then another."""
    second = Bundle.save(small_bundle.model, tmp_path / "second", data_hash="", parent=small_bundle.bundle_id)
    releases = Releases(tmp_path / "registry")
    for path in (small_bundle.path, second.path):
        releases.promote(path, None, because=WHY)
    return releases.root


def stored(registry: Path, tmp_path: Path) -> Watched:
    """Watch a copy without links, as a store holds it."""
    store = tmp_path / "store"
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(registry, store, ignore=shutil.ignore_patterns("current", "lock"))
    return watched(store.as_uri(), tmp_path / "mirror")


def local(registry: Path, tmp_path: Path) -> Watched:
    return watched(str(registry), tmp_path / "mirror")


@pytest.mark.parametrize("look", [local, stored])
def test_what_is_promoted_and_rolled_back_is_seen(
    look: Callable[[Path, Path], Watched], registry: Path, tmp_path: Path, small_bundle: Bundle
) -> None:
    seen = look(registry, tmp_path)
    current = seen.current()
    assert current == Releases(registry).current()
    assert current
    bundle = seen.fetched(current)
    assert Bundle.load(bundle.path).bundle_id == current
    # Whichever bundle serves, viewers' histories are in one file.
    assert default_state(bundle.path) == seen.state()
    Releases(registry).rollback(because=WHY)
    again = look(registry, tmp_path)
    assert again.current() == small_bundle.bundle_id
    assert again.fetched(small_bundle.bundle_id).path != bundle.path


def test_a_copy_that_is_not_whole_yet_leaves_nothing_behind(registry: Path, tmp_path: Path) -> None:
    seen = stored(registry, tmp_path)
    current = seen.current()
    assert current
    late = tmp_path / "store" / "bundles" / current / "card.md"
    content = late.read_bytes()
    late.unlink()
    with pytest.raises(ReleaseError, match=r"card\.md"):
        seen.fetched(current)
    late.write_bytes(content[:-1] + b"!")
    with pytest.raises(BundleError, match=r"card\.md"):
        seen.fetched(current)
    assert not list((tmp_path / "mirror" / "bundles").iterdir())
    late.write_bytes(content)
    assert seen.fetched(current).bundle_id == current


def test_what_is_no_registry_is_said(tmp_path: Path) -> None:
    assert isinstance(watched(str(tmp_path), tmp_path), LocalRegistry)
    assert LocalRegistry(tmp_path).current() is None
    with pytest.raises(ReleaseError, match=r"history\.jsonl"):
        StoredRegistry((tmp_path / "nothing").as_uri(), tmp_path / "mirror").current()
    with pytest.raises(FoveateError, match="carrier"):
        watched("carrier://pigeon", tmp_path)


@pytest.mark.parametrize("look", [local, stored])
def test_a_server_starts_with_the_newest_that_can_be_used(
    look: Callable[[Path, Path], Watched], registry: Path, tmp_path: Path, small_bundle: Bundle
) -> None:
    current = Releases(registry).current()
    assert look(registry, tmp_path).good() == [current, small_bundle.bundle_id]
    card = registry / "bundles" / str(current) / "card.md"
    card.write_bytes(card.read_bytes()[:-1] + b"!")
    said: list[str] = []
    found = first_good(look(registry, tmp_path), said.append)
    assert found.bundle_id == small_bundle.bundle_id
    [line] = said
    assert f"bundle {current} cannot be used" in line
    for path in (registry / "bundles").iterdir():
        (path / "card.md").unlink()
    shutil.rmtree(tmp_path / "mirror", ignore_errors=True)
    with pytest.raises(ReleaseError, match="none of the registry's bundles"):
        first_good(look(registry, tmp_path), said.append)
    with pytest.raises(ReleaseError, match="promoted nothing yet"):
        first_good(LocalRegistry(empty(tmp_path)), said.append)


def empty(tmp_path: Path) -> Path:
    root = tmp_path / "empty"
    root.mkdir()
    (root / "history.jsonl").touch()
    return root
