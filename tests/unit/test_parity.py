"""Served slates are remade from a real file of records, and every difference is told item by item."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.errors import StateError
from foveate.core.messages import RecommendRequest
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.replay.parity import parity, rows
from foveate.state.base import ServedRequest
from foveate.state.record import pack, unpack
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState
from foveate_cli.main import main

NOW = 1_742_169_600_000_000


@pytest.fixture
def state(small_bundle: Bundle, tmp_path: Path) -> Path:
    """A file with six recorded slates."""
    path = Path(shutil.copyfile(default_state(small_bundle.path), tmp_path / "state.sqlite"))
    with SqliteState(path) as viewers, SqliteImpressions(path) as sink:
        sink.remember_bundle(small_bundle.bundle_id, small_bundle.path)
        for number, user in enumerate(viewers.users(6)):
            request = RecommendRequest(user, k=5, seed=number, now=NOW - number)
            context = make_context(
                request, small_bundle.bundle_id, clock=lambda: NOW, budget=10**9, request_id=f"r{number}"
            )
            slate = asyncio.run(recommend(request, context, LocalStages(small_bundle.model, viewers)))
            sink.write([ServedRequest(request, context, slate)])
    return path


def change(state: Path, request_id: str, edit: Callable[[ServedRequest], ServedRequest]) -> None:
    """Put another record in place of one that the file holds."""
    with sqlite3.connect(state) as connection:
        (record,) = connection.execute("SELECT record FROM requests WHERE request_id = ?", (request_id,)).fetchone()
        changed = (pack(edit(unpack(record))), request_id)
        assert connection.execute("UPDATE requests SET record = ? WHERE request_id = ?", changed).rowcount == 1
    connection.close()


def with_item(position: int, **changes: object) -> Callable[[ServedRequest], ServedRequest]:
    """Return what changes one item of a slate."""

    def edit(served: ServedRequest) -> ServedRequest:
        items = list(served.slate.items)
        items[position] = replace(items[position], **changes)
        return replace(served, slate=replace(served.slate, items=tuple(items)))

    return edit


def with_another_score(served: ServedRequest) -> ServedRequest:
    return with_item(2, score=served.slate.items[2].score + 0.5)(served)


def test_what_was_served_comes_out_again(state: Path) -> None:
    result = parity(state)
    assert [one.served.request_id for one in result.compared] == [f"r{number}" for number in reversed(range(6))]
    assert not result.different
    assert not result.passed
    assert len(parity(state, last=2).compared) == 2


def test_every_difference_is_told_item_by_item(state: Path, small_bundle: Bundle) -> None:
    change(state, "r1", with_another_score)
    change(state, "r3", with_item(0, item_id="v99999"))
    with SqliteImpressions(state) as sink:
        features = sink.read("r4").slate.items[1].features
    features[7] += 1
    change(state, "r4", with_item(1, features=features))
    found = {(row["request_id"], row["position"], row["what"]) for row in rows(parity(state))}
    column = small_bundle.model.features.names[7]
    assert found == {("r1", 2, "score"), ("r3", 0, "item"), ("r4", 1, f"features.{column}")}
    # What lies within the tolerance is the same.
    assert {row["request_id"] for row in rows(parity(state, tolerance=1.0))} == {"r3"}


def test_what_cannot_be_remade_is_passed_and_said(state: Path, tmp_path: Path) -> None:
    with SqliteImpressions(state) as sink:
        served = sink.read("r0")
        context = replace(served.context, request_id="r9")
        slate = replace(served.slate, request_id="r9", degraded=("ranker_slow",))
        sink.write([ServedRequest(served.request, context, slate)])
        assert sink.read("r9").slate.degraded == ("ranker_slow",)
    change(
        state,
        "r2",
        lambda served: replace(
            served,
            context=replace(served.context, bundle_id="gone"),
            slate=replace(served.slate, bundle_id="gone"),
        ),
    )
    passed = {one.request_id: one.because for one in parity(state).passed}
    assert passed.keys() == {"r2", "r9"}
    assert "ranker_slow" in passed["r9"]
    assert "gone" in passed["r2"]
    with pytest.raises(StateError, match="absent"):
        parity(tmp_path / "absent.sqlite")


def test_the_verb_says_by_its_status_whether_there_are_differences(
    state: Path,
    small_bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*more: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["foveate", "parity", "--state", str(state), *more])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), capsys.readouterr().out
        return 0, capsys.readouterr().out

    monkeypatch.setenv("COLUMNS", "120")
    status, said = run("--bundle", str(small_bundle.path))
    assert (status, said.count("same       6 of 6")) == (0, 1)
    change(state, "r1", with_another_score)
    status, said = run("--json", str(tmp_path / "parity.json"))
    assert status == 1
    assert "same       5 of 6" in said
    payload = json.loads((tmp_path / "parity.json").read_text())
    [difference] = payload["differences"]
    assert (difference["request_id"], difference["position"], difference["what"]) == ("r1", 2, "score")
    assert difference["was"] == pytest.approx(difference["now"] + 0.5)
    assert difference["request_id"] in said
    status, _ = run("--bundle", str(tmp_path / "absent"))
    assert status == 2
