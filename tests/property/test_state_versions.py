"""Whatever happens later, a version of a history reads as it did: the ground that every replay stands on."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveate.state.base import ViewerEvent
from foveate.state.connect import StatePlace, open_viewers
from foveate.state.sqlite.store import SqliteState

if TYPE_CHECKING:
    from lab.stores import Redis

EVENTS = st.builds(
    ViewerEvent,
    user_id=st.sampled_from(["u", "v"]),
    item_id=st.sampled_from(["a", "b", "c"]),
    kind=st.sampled_from(["click", "watch"]),
    value=st.floats(0, 100, width=32),
    occurred_at=st.none() | st.integers(0, 10),
    event_id=st.none() | st.sampled_from(["e1", "e2", "e3"]),
)


BATCHES = st.lists(st.lists(EVENTS, max_size=4), max_size=6)


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_every_version_of_a_file_reads_as_it_did(batches: list[list[ViewerEvent]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_versions(Path(folder) / "s", batches)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(BATCHES)
def test_every_version_on_a_server_reads_as_it_did(redis_server: Redis, batches: list[list[ViewerEvent]]) -> None:
    check_versions(redis_server.address(prefix=uuid.uuid4().hex), batches)


def check_versions(place: StatePlace, batches: list[list[ViewerEvent]]) -> None:
    with open_viewers(place) as state:
        seen = []
        for batch in batches:
            state.append(batch)
            seen += [state.history("u"), state.history("v")]
        for then in seen:
            now = state.history(then.user_id, then.version)
            assert (now.item_ids, now.kinds, now.version) == (then.item_ids, then.kinds, then.version)
            np.testing.assert_array_equal(now.times, then.times)
            np.testing.assert_array_equal(now.values, then.values)


@settings(max_examples=40, deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_dated_events_stand_in_the_order_of_their_times(events: list[ViewerEvent]) -> None:
    with tempfile.TemporaryDirectory() as folder, SqliteState(Path(folder) / "s") as state:
        state.append(events)
        times = state.history("u").times
        dated = times[times >= 0]
        assert (np.diff(dated) >= 0).all()
