"""``foveate recommend`` on every surface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle
from foveate.core.errors import RequestError
from foveate_cli.recommend import command

NOW = ("--now", "2025-03-14T00:00Z")


def recommend(bundle: Bundle, out: Path, *args: str) -> tuple[str, dict[str, Any]]:
    options = ["--bundle", str(bundle.path), "-k", "3", "--json", str(out / "slate.json"), *args]
    done = CliRunner().invoke(command, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    payload: dict[str, Any] = json.loads((out / "slate.json").read_text())
    return done.output, payload


def test_each_surface_is_asked_by_name(small_bundle: Bundle, tmp_path: Path) -> None:
    video = small_bundle.model.catalog.items.ids[5]
    asked = {
        "home": ("--user", "u00017"),
        "trending": (),
        "fresh": (),
        "upcoming": (),
        "channels": ("--user", "u00017", "--diversity", "0.5"),
        "related": ("--related-to", video),
    }
    for surface, options in asked.items():
        said, slate = recommend(small_bundle, tmp_path, "--surface", surface, *options, *NOW)
        assert slate["surface"] == surface
        assert len(slate["items"]) == 3
        assert surface.capitalize() in said


def test_what_an_anonymous_visitor_watched_is_a_session(small_bundle: Bundle, tmp_path: Path) -> None:
    watched = small_bundle.model.catalog.items.ids[:2]
    said, slate = recommend(small_bundle, tmp_path, "--watched", watched[0], "--watched", watched[1], *NOW)
    assert (slate["surface"], slate["user_id"], slate["cold"]) == ("session", "", False)
    assert "anonymous" in said
    assert not {*watched} & {item["item_id"] for item in slate["items"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "'user_id'"),
        (("--surface", "hom", "--user", "u"), "Did you mean 'home'"),
        (("--user", "u", "--now", "soon"), "--now 'soon'"),
        (("--surface", "fresh", "--diversity", "1"), "no diversity"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    small_bundle: Bundle, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        recommend(small_bundle, tmp_path, *options)
