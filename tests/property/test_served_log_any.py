"""Whatever is shown, told, exported and erased, in whatever order: the served log holds it once, or no more."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import foveate
from foveate.core.messages import Filters, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.data.served.chain import read_chain
from foveate.state.base import ServedRequest, ViewerEvent
from foveate.state.connect import open_impressions, open_viewers
from served_world import NOW, SECOND, bytes_of, rows

USERS = ("ann", "bøb", "a,b\n'c")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
FEATURES = st.lists(st.floats(width=32), min_size=0, max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.sampled_from([*USERS, ""]), st.lists(FEATURES, min_size=1, max_size=2)),
        st.tuples(st.just("tell"), st.sampled_from(USERS), TEXTS),
        st.tuples(st.just("export"), st.none(), st.none()),
        st.tuples(st.just("erase"), st.sampled_from(USERS), st.none()),
    ),
    max_size=14,
)


def request(number: int, user: str, features: list[list[float]], at: int) -> ServedRequest:
    items = tuple(
        SlateItem(f"item {place}", place, float("nan") if place else 0.5, (), np.array(own, dtype=np.float32))
        for place, own in enumerate(features)
    )
    # Made after any erasure so far: its deadline says so.
    context = RequestContext(f"r{number}", at, "b", 1 << 62, "home", 0, Filters())
    return ServedRequest(RecommendRequest(user), context, Slate(f"r{number}", user, "b", "p", "f", items))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(steps=STEPS)
def test_the_served_log_is_what_was_shown_and_told_and_not_erased(steps: list[tuple[str, str, object]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        store, out = Path(scratch) / "state.sqlite", Path(scratch) / "log"
        shown: dict[str, tuple[str, list[float]]] = {}
        told: dict[str, tuple[str, str]] = {}
        with open_viewers(store) as viewers, open_impressions(store) as impressions:
            foveate.export_log(store, out, settle_s=0)
            for number, (step, user, what) in enumerate(steps):
                if step == "show":
                    assert isinstance(what, list)
                    one = request(number, user, what, NOW + number * SECOND)
                    impressions.write([one])
                    shown |= {f"r{number}:{item.position}": (user, item.features.tolist()) for item in one.slate.items}
                elif step == "tell":
                    event = ViewerEvent(user, "item 0", "comment", 1.0, NOW, f"e{number}", text=str(what))
                    viewers.append([event, event])
                    told[f"e{number}"] = user, str(what)
                elif step == "export":
                    foveate.export_log(store, out, settle_s=0)
                else:
                    assert foveate.erase_viewer(store, user).done
                    shown = {name: one for name, one in shown.items() if one[0] != user}
                    told = {name: one for name, one in told.items() if one[0] != user}
                    assert user not in rows(out, "events")["user_id"]
            foveate.export_log(store, out, settle_s=0)
        impressions_found, events_found = rows(out, "impressions"), rows(out, "events")
        assert sorted(impressions_found["impression_id"]) == sorted(shown)
        for row in impressions_found.iter_rows(named=True):
            user, features = shown[row["impression_id"]]
            assert (row["user_id"] or "") == user
            np.testing.assert_array_equal(row["features"], features)
        found = events_found.select("event_id", "user_id", "text").iter_rows()
        assert {name: (user, text) for name, user, text in found} == told
        assert events_found["event_id"].is_unique().all()
        links = read_chain(out)
        assert [link.number for link in links] == list(range(1, len(links) + 1))
        if "ann" not in {user for user, _ in [*shown.values(), *told.values()]}:
            assert b'"ann"' not in bytes_of(out)
