"""A bundle is what was written, to the byte, or it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foveate.bundle import Bundle, Part, default_state, verify
from foveate.bundle.manifest import MANIFEST, content_id, read_manifest
from foveate.core.config import to_dict
from foveate.core.errors import BundleError, OutputExistsError
from foveate.core.messages import Filters, Query, ViewerHistory
from foveate.state.sqlite.store import SqliteState


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def copy(small_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_bundle.path, tmp_path / "copy"))


def queries(bundle: Bundle, viewers: int = 5) -> list[Query]:
    with SqliteState(default_state(bundle.path), create=False) as state:
        histories: list[ViewerHistory] = [state.history(user) for user in state.users(viewers)]
    return [bundle.model.query(history, Filters(), 1_750_000_000_000_000) for history in histories]


def test_a_loaded_bundle_answers_as_the_trained_model_does(small_bundle: Bundle) -> None:
    loaded = Bundle.load(small_bundle.path)
    assert loaded.manifest == small_bundle.manifest
    asked = queries(small_bundle)
    for one, other in zip(small_bundle.model.candidates(asked), loaded.model.candidates(asked), strict=True):
        np.testing.assert_array_equal(one.items, other.items)
        np.testing.assert_array_equal(one.scores, other.scores)
    candidates = loaded.model.candidates(asked)
    before, after = small_bundle.model.rank(asked, candidates), loaded.model.rank(asked, candidates)
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was.features.values, now.features.values)
        np.testing.assert_array_equal(was.scores, now.scores)


def test_the_same_model_gives_the_same_id_and_another_seed_another(small_bundle: Bundle, tmp_path: Path) -> None:
    model, manifest = small_bundle.model, small_bundle.manifest
    told = {"data_hash": manifest.data_hash, "data": manifest.data, "simulated": True, "metrics": manifest.metrics}
    again = Bundle.save(model, tmp_path / "again", seeds=(0,), **told)  # type: ignore[arg-type]
    other = Bundle.save(model, tmp_path / "other", seeds=(1,), **told)  # type: ignore[arg-type]
    assert again.bundle_id == small_bundle.bundle_id != other.bundle_id
    for one, same in zip(files_of(small_bundle.path), files_of(again.path), strict=True):
        assert one.read_bytes() == same.read_bytes(), one.name


def test_it_holds_no_pickle_and_no_viewer(small_bundle: Bundle) -> None:
    with SqliteState(default_state(small_bundle.path), create=False) as state:
        viewers = [user.encode() for user in state.users(300)]
    assert len(viewers) > 200
    for path in files_of(small_bundle.path):
        assert path.suffix in {".json", ".md", ".yaml", ".parquet", ".safetensors", ".txt"}
        content = path.read_bytes()
        assert not content.startswith(b"\x80")
        assert not any(viewer in content for viewer in viewers), path.name


def test_parts_may_be_left_out(small_bundle: Bundle) -> None:
    asked = queries(small_bundle)
    retriever = Bundle.load(small_bundle.path, parts={Part.SOURCES}).model
    ranker = Bundle.load(small_bundle.path, parts={Part.RANKER}).model
    assert Bundle.load(small_bundle.path, parts=set()).model.sources == ranker.sources == ()
    ranked = ranker.rank(asked, retriever.candidates(asked))
    whole = small_bundle.model.rank(asked, small_bundle.model.candidates(asked))
    for one, other in zip(ranked, whole, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


def test_a_card_tells_a_person_what_it_is(small_bundle: Bundle) -> None:
    card = (small_bundle.path / "card.md").read_text()
    for text in (small_bundle.bundle_id, "Simulated", "attention", "lambdarank", "mmr", "0.1000", "300 videos"):
        assert text in card


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_one_changed_byte_in_any_file_is_refused_by_name(copy: Path, where: str) -> None:
    verify(copy)
    for path in files_of(copy):
        content = bytearray(path.read_bytes())
        place = {"first": 0, "middle": len(content) // 2, "last": len(content) - 1}[where]
        content[place] ^= 1
        path.write_bytes(bytes(content))
        for check in (Bundle.load, verify):
            with pytest.raises(BundleError, match=path.name):
                check(copy)
        content[place] ^= 1
        path.write_bytes(bytes(content))
    Bundle.load(copy)


def test_every_byte_of_the_manifest_counts(copy: Path) -> None:
    path = copy / MANIFEST
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.choice(len(content), 300, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(7))
        path.write_bytes(bytes(changed))
        with pytest.raises(BundleError, match=r"manifest\.json"):
            verify(copy)


def test_a_missing_an_extra_and_a_truncated_file_are_refused_by_name(copy: Path) -> None:
    for path in files_of(copy):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(BundleError, match=path.name):
            Bundle.load(copy)
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(BundleError, match=path.name):
            Bundle.load(copy)
        path.write_bytes(content)
    for extra in ("notes.txt", "sources/.hidden", "ranker/member-99.txt"):
        (copy / extra).write_text("x")
        with pytest.raises(BundleError, match=f"'{extra}' does not belong"):
            Bundle.load(copy)
        (copy / extra).unlink()
    Bundle.load(copy)


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change the manifest as someone would who also mends its id."""
    manifest = to_dict(read_manifest(folder))
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def test_another_schema_version_is_refused(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest.update(schema_version=2))
    with pytest.raises(BundleError, match=r"manifest\.json' has schema version 2"):
        Bundle.load(copy)


def test_a_manifest_that_was_rewritten_is_refused(copy: Path) -> None:
    rewrite(copy, lambda manifest: manifest.update(metrics={"test": {"slate": {"ndcg@10": 0.99}}}))
    with pytest.raises(BundleError, match="altered"):
        Bundle.load(copy)
    rewritten = json.loads((copy / MANIFEST).read_text())
    assert rewritten["metrics"] == {"test": {"slate": {"ndcg@10": 0.99}}}


def test_features_defined_otherwise_are_refused(copy: Path) -> None:
    from dataclasses import replace

    manifest = read_manifest(copy)
    columns = ("renamed", *manifest.columns[1:])
    replace(manifest, columns=columns).identified().write(copy)
    assert content_id(read_manifest(copy)) != manifest.bundle_id
    with pytest.raises(BundleError, match="features are defined otherwise"):
        Bundle.load(copy)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 1}', "null"])
def test_a_manifest_that_is_none_is_refused(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError, match=r"manifest\.json' is damaged"):
        Bundle.load(copy)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(BundleError, match="is no bundle"):
            Bundle.load(path)


def test_an_output_that_holds_something_is_refused(small_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(OutputExistsError):
        Bundle.save(small_bundle.model, tmp_path / "out", data_hash="")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.txt"]


def test_a_metric_that_is_not_finite_leaves_nothing_behind(small_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="finite"):
        Bundle.save(
            small_bundle.model, tmp_path / "out", data_hash="", metrics={"test": {"slate": {"ndcg@10": float("nan")}}}
        )
    assert list(tmp_path.iterdir()) == []
