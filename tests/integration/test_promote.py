"""The verbs that promote and roll back, and what the gate makes of bundles on a log."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from foveate.bundle import Bundle, default_state, verify
from foveate.core.config import from_dict
from foveate.core.errors import FoveateError, ReleaseError
from foveate.data.dataset import Dataset
from foveate.evaluation.gate import compare_bundles
from foveate.recommend.recipe import Recipe
from foveate.releases.viewer_state import remember_served, state_of
from foveate.retrieval.popularity import Popular
from foveate.state.base import ViewerEvent
from foveate.state.seeding import seed
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState
from foveate.training import fit
from foveate_cli.main import cli

SOUND = {"sources": ["covisitation", "popularity"], "ranker": "z_score", "features": [], "label_windows": 1}


def trained(world: Dataset, path: Path, upto: str = "test") -> Bundle:
    fitted = fit(world, from_dict(Recipe, SOUND), upto=upto)  # type: ignore[arg-type]
    told = {"data_hash": world.manifest.content_hash, "data": world.title, "learned_until": fitted.stage.now}
    sweep = {"sweep": "abc", "trial": "trial-007"}
    metrics = {"validation": {"two-stage": {"ndcg@10": 0.0625}}}
    return Bundle.save(fitted.model, path, upto=upto, sweep=sweep, metrics=metrics, **told)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("promote")


@pytest.fixture(scope="module")
def sound(small_world: Dataset, root: Path) -> Bundle:
    return trained(small_world, root / "sound")


@pytest.fixture(scope="module")
def worse(sound: Bundle, root: Path) -> Bundle:
    """The same model, but it likes best what nobody watches."""
    covisitation, popularity = sound.model.sources
    counts = popularity.arrays()["counts"]
    model = replace(sound.model, sources=(covisitation, Popular("popularity", counts.max() - counts)))
    told = {name: getattr(sound.manifest, name) for name in ("data_hash", "data", "learned_until", "upto")}
    return Bundle.save(model, root / "worse", **told)


def foveate(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_a_bundle_passes_against_popularity_and_against_itself(small_world: Dataset, sound: Bundle) -> None:
    first = compare_bundles(small_world, sound, [])
    assert (first.against, first.passed) == ("popularity", True)
    assert first.new > first.old > 0
    same = compare_bundles(small_world, sound, [sound])
    assert (same.percent, same.low, same.high, same.passed) == (0.0, 0.0, 0.0, True)
    assert same.new == first.new


def test_a_worse_bundle_fails_and_by_what_margin_it_would_pass(
    small_world: Dataset, sound: Bundle, worse: Bundle
) -> None:
    verdict = compare_bundles(small_world, worse, [sound])
    assert not verdict.passed
    assert verdict.low is not None
    assert verdict.percent is not None
    assert verdict.low < verdict.percent < -2.0
    assert compare_bundles(small_world, worse, [sound], margin=-verdict.low + 0.01).passed
    assert not compare_bundles(small_world, worse, [sound], margin=-verdict.low - 0.01).passed
    np.testing.assert_allclose(verdict.percent, 100 * (verdict.new / verdict.old - 1))
    better = compare_bundles(small_world, sound, [worse]).percent
    assert better is not None
    assert better > 2.0


def test_whoever_has_seen_the_window_is_not_judged_by_it(small_world: Dataset, sound: Bundle, root: Path) -> None:
    whole = trained(small_world, root / "whole", upto="all")
    with pytest.raises(ReleaseError, match=r"learned from the newest window .* --upto test"):
        compare_bundles(small_world, whole, [])
    with pytest.raises(ReleaseError, match=rf"{whole.bundle_id} has learned .* a newer log"):
        compare_bundles(small_world, sound, [whole])
    # The twin of the one that serves stands in for it.
    assert compare_bundles(small_world, sound, [whole, sound]).against == sound.bundle_id


def test_too_few_viewers_are_not_asked(small_world: Dataset, sound: Bundle) -> None:
    with pytest.raises(ReleaseError, match="only 5 viewers"):
        compare_bundles(small_world, sound, [], viewers=5)


def test_the_verbs_promote_refuse_list_and_roll_back(
    small_world: Dataset, sound: Bundle, worse: Bundle, tmp_path: Path
) -> None:
    registry, answer = tmp_path / "registry", tmp_path / "answer.json"
    given = ("--data", small_world.path, "--registry", registry, "--json", answer)
    done = foveate("promote", sound.path, *given)
    assert done.exit_code == 0, done.output
    assert f"serves   bundle {sound.bundle_id}, as the first of its registry" in done.output
    assert "of popularity: +" in done.output
    refused = foveate("promote", worse.path, *given)
    assert refused.exit_code == 1
    assert f"{sound.bundle_id} serves on" in refused.output
    told = json.loads(answer.read_text())
    assert (told["action"], told["entry"]["gate"]["passed"]) == ("refuse", False)
    forced = foveate("promote", worse.path, "--registry", registry, "--no-gate", "--because", "a drill")
    assert forced.exit_code == 0, forced.output
    assert verify(registry / "current").bundle_id == worse.bundle_id
    back = foveate("rollback", "--registry", registry, "--because", "it was a drill")
    assert f"serves   bundle {sound.bundle_id}, in place of {worse.bundle_id}" in back.output
    assert verify(registry / "current").bundle_id == sound.bundle_id

    listed = foveate("bundles", "--registry", registry, "--json", answer)
    told = json.loads(answer.read_text())
    assert told["current"] == sound.bundle_id
    assert [line["action"] for line in told["history"]] == ["promote", "refuse", "promote", "rollback"]
    assert [line["because"] for line in told["history"]] == ["", "", "a drill", "it was a drill"]
    first = told["history"][0]
    assert first["origin"] == {"sweep": "abc", "trial": "trial-007", "run": "abc-trial-007"}
    assert first["metrics"]["validation"]["two-stage"]["ndcg@10"] == 0.0625
    assert first["gate"]["judged"] == sound.bundle_id
    marked = [line for line in listed.output.splitlines() if line.lstrip().startswith("*")]
    assert len(marked) == 1
    assert "rollback" in marked[0]


def with_state(bundle: Bundle, world: Dataset, folder: Path) -> Path:
    """A copy of a bundle with viewers' histories beside it, as training leaves it."""
    path = Path(shutil.copytree(bundle.path, folder / bundle.path.name))
    with SqliteState(default_state(path)) as state:
        seed(state, world)
    return path


def liked(place: Path) -> bool:
    with SqliteState(place, create=False) as state:
        return "liked live" in state.history("u0").item_ids


def like(place: Path) -> None:
    """What a viewer does while a server uses a store."""
    with SqliteState(place, create=False) as state:
        assert state.append([ViewerEvent("u0", "liked live", "like", event_id="live")]) == 1


def next_of(done: Result) -> str:
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.output.splitlines() if line.startswith("next ")]
    return line.removeprefix("next").strip()


UNJUDGED = ("--no-gate", "--because", "a drill")


def test_what_was_served_before_a_promotion_is_there_after_it(
    small_world: Dataset, sound: Bundle, worse: Bundle, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    first, second = (with_state(one, small_world, tmp_path) for one in (sound, worse))
    told = next_of(foveate("promote", first, "--registry", registry, *UNJUDGED))
    assert told == f"foveate serve --bundle {registry / 'current'}"
    live = state_of(registry / "current")
    assert live == registry.resolve() / "state.sqlite"
    like(Path(live))
    before = len(events(Path(live)))
    told = next_of(foveate("promote", second, "--registry", registry, *UNJUDGED))
    assert told == f"foveate serve --bundle {registry / 'current'}"
    assert state_of(registry / "current") == live
    assert liked(Path(live))
    assert len(events(Path(live))) == before


def test_a_promotion_goes_on_with_the_store_that_was_served(
    small_world: Dataset, sound: Bundle, worse: Bundle, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    first, second = (with_state(one, small_world, tmp_path) for one in (sound, worse))
    next_of(foveate("promote", first, "--registry", registry, *UNJUDGED))
    # An older registry has no store of its own: its server was told the one beside the bundle.
    (registry / "state.sqlite").unlink()
    live = default_state(first)
    remember_served(registry, live)
    like(live)
    told = next_of(foveate("promote", second, "--registry", registry, *UNJUDGED))
    assert told == f"foveate serve --bundle {registry / 'current'}"
    assert state_of(registry / "current") == str(live)
    assert liked(live)
    # A store that somebody names wins, and is named in what comes next.
    other = tmp_path / "other.sqlite"
    told = next_of(foveate("promote", first, "--registry", registry, "--state", other, *UNJUDGED))
    assert told == f"foveate serve --bundle {registry / 'current'} --state {other}"
    assert liked(other)


def test_the_first_promotion_goes_on_with_what_was_served_beside_the_bundle(
    small_world: Dataset, sound: Bundle, worse: Bundle, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    first, second = (with_state(one, small_world, tmp_path) for one in (sound, worse))
    live = default_state(first)
    # A server remembers where its bundle lies.
    with SqliteImpressions(live) as sink:
        sink.remember_bundle(sound.bundle_id, first)
    told = next_of(foveate("promote", first, "--registry", registry, *UNJUDGED))
    assert told == f"foveate serve --bundle {registry / 'current'}"
    assert state_of(registry / "current") == str(live)
    like(live)
    next_of(foveate("promote", second, "--registry", registry, *UNJUDGED))
    assert state_of(registry / "current") == str(live)
    assert liked(live)


def test_a_training_names_the_store_of_what_it_replaces(small_world: Dataset, sound: Bundle, tmp_path: Path) -> None:
    data, registry, made = small_world.path, tmp_path / "registry", tmp_path / "made"
    parent = with_state(sound, small_world, tmp_path)
    settings = ("sources=[popularity]", "ranker=z_score", "features=[]", "label_windows=1")
    done = foveate("train", "--data", data, "--out", made, "--parent", parent, *settings)
    assert done.exit_code == 0, done.output
    named = [line.removeprefix("next").strip() for line in done.output.splitlines() if line.startswith("next ")]
    assert named == [
        f"foveate state copy {default_state(made)} {default_state(parent)} --histories-only",
        f"foveate serve --bundle {made} --state {default_state(parent)}",
    ]
    next_of(foveate("promote", parent, "--registry", registry, *UNJUDGED))
    made, live = tmp_path / "again", tmp_path / "live.sqlite"
    done = foveate("train", "--data", data, "--out", made, "--parent", registry / "current", *settings)
    assert next_of(done) == f"foveate promote {made} --data {data} --registry {registry.resolve()}"
    made = tmp_path / "third"
    done = foveate("train", "--data", data, "--out", made, "--state", live, *settings)
    assert next_of(done) == f"foveate serve --bundle {made} --state {live}"
    assert events(live) == events(default_state(made))


def events(place: Path) -> list[tuple[str, str | None]]:
    with SqliteState(place, create=False) as state:
        return sorted((one.event.user_id, one.event.event_id) for part in state.kept() for one in part)


def test_what_cannot_be_judged_is_told_in_one_line(sound: Bundle, tmp_path: Path) -> None:
    done = foveate("promote", sound.path, "--registry", tmp_path / "registry")
    assert isinstance(done.exception, FoveateError)
    assert "name it with --data, or promote with --no-gate" in str(done.exception)
    done = foveate("promote", sound.path, "--registry", tmp_path / "registry", "--no-gate")
    assert "--because" in str(done.exception)
    done = foveate("bundles", "--registry", tmp_path / "registry")
    assert "is no registry" in str(done.exception)
    assert not list(tmp_path.iterdir())
