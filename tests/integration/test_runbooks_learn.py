"""The page of the nightly learning: its commands, one after the other, end with a bundle that learned from a night."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from clusters.book import commands
from foveate.bundle import Bundle, default_state
from foveate.core.messages import RecommendRequest
from foveate.data.dataset import Dataset, open_dataset
from foveate.recommend.pipeline import make_context, recommend_many
from foveate.state.base import ServedRequest, ViewerEvent, impression_id, utc_micros
from foveate.state.connect import open_impressions, open_viewers
from foveate_cli.main import cli

pytestmark = pytest.mark.soak

HOUR = 3_600_000_000
STEPS = ("export", "append", "train", "promote", "check")


def test_a_night_ends_with_a_promoted_bundle_that_learned_from_what_was_served(
    small_world: Dataset, small_bundle: Bundle, tmp_path: Path
) -> None:
    assert small_world.path is not None
    assert small_bundle.path is not None
    placed = {name: str(tmp_path / name.lower()) for name in ("SERVEDLOG", "DATASET", "NEWBUNDLE", "REGISTRY", "STATE")}
    shutil.copytree(small_world.path, placed["DATASET"])
    shutil.copy(default_state(small_bundle.path), placed["STATE"])
    run("promote", str(small_bundle.path), "--registry", placed["REGISTRY"], "--no-gate", "--because", "the first")
    end = small_world.manifest.last or 0
    with open_viewers(placed["STATE"]) as viewers, open_impressions(placed["STATE"]) as impressions:
        for hour in range(1, 40):
            users = small_world.viewers["user_id"].sample(20, seed=hour)
            requests = [RecommendRequest(user, k=10, now=end + hour * HOUR, seed=hour) for user in users]
            contexts = [make_context(one, small_bundle.bundle_id, clock=utc_micros) for one in requests]
            slates = recommend_many(small_bundle.model, viewers, requests, contexts)
            impressions.write([ServedRequest(*one) for one in zip(requests, contexts, slates, strict=True)])
            viewers.append(
                [
                    ViewerEvent(slate.user_id, item.item_id, "long_view", 1.0, end + hour * HOUR + 1, None, name)
                    for slate in slates
                    for item in slate.items[:3]
                    for name in [impression_id(slate.request_id, item.position)]
                ]
            )
    said = ""
    for step in STEPS:
        for words in commands("learn", step):
            filled = [_filled(word, placed) for word in words]
            if "promote" in filled:
                # So small a world tells no model from another.
                filled += ["--no-gate", "--because", "tried"]
                del filled[filled.index("--data") : filled.index("--data") + 2]
                del filled[filled.index("--twin") : filled.index("--twin") + 2]
            said += run(*filled[1:])
    grown = open_dataset(Path(placed["DATASET"]))
    assert grown.manifest.rows["impressions"] == small_world.manifest.rows["impressions"] + 39 * 20 * 10
    assert grown.manifest.rows["events"] == small_world.manifest.rows["events"] + 39 * 20 * 3
    new = Bundle.load(Path(placed["NEWBUNDLE"]))
    assert new.manifest.data_hash == grown.manifest.content_hash
    assert (new.manifest.learned_until or 0) > end + 38 * HOUR
    assert new.bundle_id in said
    assert placed["SERVEDLOG"] in said


def _filled(word: str, placed: dict[str, str]) -> str:
    for name in sorted(placed, key=len, reverse=True):
        if word.startswith(name):
            return placed[name] + word.removeprefix(name)
    return word


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert done.exit_code == 0, (shlex.join(words), done.output)
    return done.output
