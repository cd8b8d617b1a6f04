"""A Redis server as the store: bounded histories, errors that tell no password, coming back, and copies."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from redis.connection import SSLConnection
from redis.exceptions import AuthenticationError, ResponseError

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, FoveateError, NotFoundError, OutputExistsError, RequestError, StateError
from foveate.core.messages import Filters, RecommendRequest, RequestContext, Slate, SlateItem
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.state.backup import backup_state, restore_state
from foveate.state.base import Export, ServedRequest, ViewerEvent
from foveate.state.connect import check_state, open_impressions, open_viewers
from foveate.state.copying import copy_state
from foveate.state.redis import connection, impressions
from foveate.state.redis.connection import Server, has_password, shown, unhurried
from foveate.state.redis.impressions import RedisImpressions
from foveate.state.redis.schema import EVENTS, IDS, _is_row_number
from foveate.state.redis.store import RedisState
from foveate.state.seeding import seed
from foveate.state.sqlite.event_table import event_rows

if TYPE_CHECKING:
    from lab.stores import Redis

NOBODY = "redis://127.0.0.1:9/0"
"""A port where nothing listens."""
MINUTE = 60_000_000
TEN_MINUTES = 10 / 1440


def watched(*items: str, user: str = "u") -> list[ViewerEvent]:
    return [ViewerEvent(user, item, "click", event_id=f"id-{item}") for item in items]


def served(request_id: str, user: str = "u") -> ServedRequest:
    context = RequestContext(request_id, 5, "b1", 9, "home", 7, Filters())
    item = SlateItem("x", 0, 0.5, ("attention",), np.ones(3, dtype=np.float32))
    return ServedRequest(RecommendRequest(user), context, Slate(request_id, user, "b1", "mmr-1", "f1", (item,)))


def test_a_history_has_a_longest_length_and_says_what_it_can_no_longer_read(redis_server: Redis) -> None:
    with RedisState(redis_server.address(history=3, past=2)) as state:
        versions = []
        for item in "abcdefg":
            state.append(watched(item))
            versions.append(state.history("u").version)
        assert state.history("u").item_ids == ("e", "f", "g")
        assert state.histories(["u"])[0].item_ids == ("e", "f", "g")
        assert state.history("u", versions[5]).item_ids == ("d", "e", "f")
        assert state.history("u", versions[4]).item_ids == ("c", "d", "e")
        with pytest.raises(NotFoundError, match=f"'u' at version {versions[3]} is no longer kept"):
            state.history("u", versions[3])
        held = [one.event.item_id for part in state.kept() for one in part]
        assert held == ["c", "d", "e", "f", "g"]
        # An id is known for as long as its event is kept.
        assert state.append(watched("c", "g")) == 0
        assert state.append(watched("a")) == 1


def test_impressions_are_dropped_after_their_time(redis_server: Redis) -> None:
    minute = 60 / 86_400
    now = 1_000_000_000_000_000
    with RedisImpressions(redis_server.address(impressions_days=minute), clock=lambda: now) as sink:
        sink.write([served("old")])
        assert sink.read("old").slate.user_id == "u"
        client, key = sink._server._client, b"foveate:request:old"
        assert 0 < client.pttl(key) <= 60_000
        client.pexpire(key, 1)
        while client.exists(key):
            time.sleep(0.01)
        with pytest.raises(NotFoundError, match="'old'"):
            sink.read("old")
    with RedisImpressions(redis_server.address(impressions_days=minute), clock=lambda: now + 61_000_000) as sink:
        sink.write([served("new")])
        assert sink.request_ids() == ["new"]


def test_a_server_that_is_away_fails_soon_and_is_found_again(redis_server: Redis) -> None:
    with RedisState(redis_server.address()) as state:
        state.append(watched("a"))
        redis_server.kill()
        with pytest.raises(StateError, match=r"cannot be used .*: see that the server runs"):
            state.history("u")
        with pytest.raises(StateError, match="did not answer a moment ago"):
            state.append(watched("b"))
        redis_server.start()
        assert eventually(lambda: state.history("u").item_ids) == ("a",)
        assert state.append(watched("b")) == 1


def test_a_connection_that_was_dropped_is_made_anew_without_an_error(redis_server: Redis) -> None:
    with RedisState(redis_server.address()) as state:
        state.append(watched("a"))
        redis_server.kill()
        redis_server.start()
        assert state.append(watched("a", "b")) == 1
        assert state.history("u").item_ids == ("a", "b")


def test_a_server_that_hangs_costs_its_time_once(redis_server: Redis) -> None:
    with RedisState(redis_server.address(timeout_s=1)) as state:
        state.append(watched("a"))
        redis_server.hang()
        try:
            began = time.monotonic()
            for _ in range(60):
                with pytest.raises(StateError):
                    state.histories(["u", "v"])
            # Were each to wait, they would take twice as long.
            assert time.monotonic() - began < 60 / 2
        finally:
            redis_server.hang(go_on=True)
        assert eventually(lambda: state.history("u").item_ids) == ("a",)


def test_a_full_server_refuses_the_whole_batch(redis_server: Redis) -> None:
    with RedisState(redis_server.address()) as state:
        state.append(watched("a"))
        state._server._client.config_set("maxmemory", "1")
        with pytest.raises(StateError, match="memory"):
            state.append(watched("b", "c"))
        state._server._client.config_set("maxmemory", "0")
        assert state.history("u").item_ids == ("a",)


def test_a_password_is_asked_for_and_never_shown(redis_server: Redis, tmp_path: Path) -> None:
    redis_server.kill()
    redis_server.start("--requirepass", "hush-hush")
    place = f"127.0.0.1:{redis_server.port}/0"
    right, wrong = f"redis://:hush-hush@{place}", f"redis://web:not-it@{place}"
    secret = tmp_path / "password"
    secret.write_text("hush-hush\n")
    for address in (right, f"redis://{place}?password_file={secret}"):
        with RedisState(address) as state:
            state.append(watched("a"))
            assert state.history("u").item_ids == ("a",)
            assert "hush" not in repr(vars(state)) + repr(state._server) + repr(state._server._client)
    for address in (wrong, f"redis://{place}", f"redis://{place}?password_file={tmp_path / 'none'}"):
        with RedisState(address) as state, pytest.raises(StateError, match="refuses us") as told:
            state.history("u")
        assert "not-it" not in str(told.value)
    assert shown(wrong) == f"redis://web@{place}"


def test_a_place_with_a_password_is_not_served_from(redis_server: Redis) -> None:
    with pytest.raises(ConfigError, match="dashboard") as told:
        check_state(f"redis://:hush@127.0.0.1:{redis_server.port}/0")
    assert "hush" not in str(told.value)
    check_state(redis_server.address())


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("redis://", "no address of a Redis server"),
        ("redis://:secret@host:port/0", "no address of a Redis server"),
        ("redis://:secret@host/films", "no address of a Redis server"),
        ("redis://:secret@host/0?histroy=3", "unknown setting 'histroy'"),
        ("redis://:secret@host/0?history=0", "at least 1"),
        ("redis://:secret@host/0?prefix=a*", "prefix may hold"),
        ("mongo://:secret@host/0", "known: a file, sqlite://, redis://, rediss://"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(address: str, fault: str) -> None:
    for opener in (open_viewers, open_impressions):
        with pytest.raises(ConfigError, match=fault) as told:
            opener(address)
        assert "secret" not in str(told.value)


def test_an_address_is_asked_by_tls_where_it_says_so(redis_server: Redis) -> None:
    with RedisState(redis_server.address().replace("redis:", "rediss:")) as state, pytest.raises(StateError):
        state.history("u")


def test_services_of_one_server_do_not_see_each_other(redis_server: Redis) -> None:
    with RedisState(redis_server.address(prefix="one")) as one, RedisState(redis_server.address(prefix="two")) as two:
        one.append(watched("a"))
        assert two.history("u").item_ids == ()
        assert two.users(5) == []


def test_a_copy_waits_longer_for_a_server_than_a_request_would(redis_server: Redis, tmp_path: Path) -> None:
    source = tmp_path / "source.sqlite"
    with open_viewers(source) as state:
        state.append(watched("a", "b"))
    for asked in ({"timeout_s": 0.1}, {}):
        redis_server.hang()
        threading.Timer(0.6, redis_server.hang, kwargs={"go_on": True}).start()
        assert copy_state(source, redis_server.address(**asked)).events == 2


def test_a_file_moves_to_a_server_and_back_with_its_versions(redis_server: Redis, tmp_path: Path) -> None:
    source, address, back = tmp_path / "source.sqlite", redis_server.address(), tmp_path / "back.sqlite"
    with open_viewers(source) as state, open_impressions(source) as sink:
        state.append([one for place in range(700) for one in watched(f"i{place}", user=f"u{place % 7}")])
        histories = state.histories([f"u{number}" for number in range(7)])
        sink.write([served("r1"), served("r2")])
        sink.remember_bundle("b1", tmp_path / "bundle")
    first = copy_state(source, address)
    assert (first.events, first.new_events, first.requests) == (700, 700, 2)
    again = copy_state(source, address)
    assert (again.events, again.new_events) == (700, 0)
    assert copy_state(address, back).new_events == 700
    for place in (address, back):
        with open_viewers(place) as state, open_impressions(place) as sink:
            for history in histories:
                here = state.history(history.user_id)
                assert (here.item_ids, here.version) == (history.item_ids, history.version)
                assert state.history(history.user_id, history.version - 7).item_ids == history.item_ids[:-1]
            assert set(sink.request_ids()) == {"r1", "r2"}
            assert sink.bundle_path("b1") == tmp_path / "bundle"


def test_the_verb_copies_and_says_how_much(redis_server: Redis, tmp_path: Path) -> None:
    from foveate_cli.state import command

    with open_viewers(tmp_path / "s") as state, open_impressions(tmp_path / "s") as sink:
        state.append(watched("a", "b"))
        sink.write([served("r1")])
    address = redis_server.address()
    result = CliRunner().invoke(command, ["copy", str(tmp_path / "s"), address, "--histories-only"])
    assert result.exit_code == 0, result.output
    assert "copied 2 events and 0 served requests; 2 of the events are new there" in result.output
    result = CliRunner().invoke(command, ["copy", str(tmp_path / "s"), address])
    assert "copied 2 events and 1 served requests; 0 of the events are new there" in result.output
    failed = CliRunner().invoke(command, ["copy", str(tmp_path / "none"), address])
    assert isinstance(failed.exception, StateError)
    failed = CliRunner().invoke(command, ["copy", str(tmp_path / "s"), NOBODY])
    assert "see that the server runs" in str(failed.exception)


def eventually(ask: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """Ask until there is no error."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        try:
            return ask()
        except FoveateError:
            time.sleep(0.05)
    return ask()


ADDRESSES = {
    "redis://host": ("host", 6379, 0, None),
    "redis://host:7000/3": ("host", 7000, 3, None),
    "redis://host/3/": ("host", 6379, 3, None),
    "redis://host:7000": ("host", 7000, 0, None),
    "redis://user@host": ("host", 6379, 0, None),
    "redis://:p%40ss@host": ("host", 6379, 0, ("p@ss",)),
    "redis://us%3Aer:p%2Fss@host/1": ("host", 6379, 1, ("us:er", "p/ss")),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_says_whom_to_ask(address: str) -> None:
    asked = Server(address)._client.connection_pool.connection_kwargs
    credentials = asked["credential_provider"]
    found = asked["host"], asked["port"], asked["db"], credentials and credentials.get_credentials()
    assert found == ADDRESSES[address]
    assert (asked["socket_timeout"], asked["socket_connect_timeout"], asked["client_name"]) == (0.25, 0.25, "foveate")
    assert asked["retry"].get_retries() == 1
    assert "ssl_ca_certs" not in asked


def test_an_address_by_tls_says_whose_certificates_count() -> None:
    own = Server("rediss://host?ca_certs=own.pem")._client.connection_pool
    usual = Server("rediss://host?timeout_s=2")._client.connection_pool
    assert own.connection_class is usual.connection_class is SSLConnection
    assert own.connection_kwargs["ssl_ca_certs"] == "own.pem"
    assert usual.connection_kwargs["ssl_ca_certs"] is None
    assert usual.connection_kwargs["socket_timeout"] == usual.connection_kwargs["socket_connect_timeout"] == 2


def test_a_password_comes_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n", encoding="utf-8")
    own = Server(f"redis://user:other@host?password_file={file}")
    credentials = own._client.connection_pool.connection_kwargs["credential_provider"]
    assert credentials.get_credentials() == ("user", "first")
    file.write_text(" sécond ", encoding="utf-8")
    assert credentials.get_credentials() == ("user", "sécond")
    file.write_bytes(b"\xff")
    with pytest.raises(AuthenticationError, match=f"^password_file '{file}': it is no text$"):
        credentials.get_credentials()
    file.unlink()
    with pytest.raises(AuthenticationError, match=f"^password_file '{file}': No such file or directory$"):
        credentials.get_credentials()


@pytest.mark.parametrize(
    ("address", "told", "secret"),
    [
        ("redis://host", "redis://host", False),
        ("redis://user@host:1/2", "redis://user@host:1/2", False),
        ("redis://:secret@host:1/2?history=5", "redis://host:1/2?history=5", True),
        ("rediss://user:s:e@c@host/2", "rediss://user@host/2", True),
        ("redis://host/a@b:c", "redis://host/a@b:c", False),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, told: str, *, secret: bool) -> None:
    assert shown(address) == told
    assert has_password(address) is secret


def test_an_address_of_nobody_is_called_so_without_its_password() -> None:
    with pytest.raises(ConfigError) as told:
        Server("redis://user:secret@host/films")
    expected = "state 'redis://user@host/films' is no address of a Redis server, such as redis://HOST:6379/0"
    assert str(told.value) == expected


def test_what_no_viewer_waits_for_may_take_half_a_minute() -> None:
    assert Server(unhurried("redis://host")).config.timeout_s == 30
    long = Server(unhurried("redis://host/1?history=7")).config
    assert (long.timeout_s, long.history) == (30, 7)


def test_keys_begin_with_the_prefix_and_take_any_letters() -> None:
    assert Server("redis://host").key("events", "u") == b"foveate:events:u"
    assert Server("redis://host?prefix=a.b").key("ids", "é\ud800") == b"a.b:ids:\xc3\xa9\xed\xa0\x80"


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("impressions_days=0", "above 0"),
        ("impressions_days=-1", "above 0"),
        ("timeout_s=0", "above 0"),
        ("prefix=a b", "letters, digits"),
        ("prefix=", "letters, digits"),
    ],
)
def test_impossible_settings_of_a_server_are_refused(setting: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Server(f"redis://host?{setting}")
    Server("redis://host?impressions_days=0.5&timeout_s=0.1&prefix=A-z_0.9:")


def test_a_server_that_did_not_answer_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(connection.time, "monotonic", lambda: now[0])
    server = Server(NOBODY)

    def ask() -> str:
        with pytest.raises(StateError) as told, server.asked() as client:
            client.ping()
        return str(told.value)

    away = ask()
    assert away.startswith(f"state '{NOBODY}' cannot be used (Error ")
    assert away.endswith("): see that the server runs and can be reached from here")
    assert ask() == f"state '{NOBODY}' cannot be used: it did not answer a moment ago"
    now[0] += 0.49
    assert "a moment ago" in ask()
    now[0] += 0.01
    assert "see that the server runs" in ask()
    assert "a moment ago" in ask()
    now[0] += 1
    remedy = "look at the user, and at the password or password_file in the address"
    refused = re.escape(f"state '{NOBODY}' refuses us (no such user): {remedy}")
    with pytest.raises(StateError, match=f"^{refused}$") as told, server.asked():
        raise AuthenticationError("no such user.")
    assert isinstance(told.value.__cause__, AuthenticationError)
    with pytest.raises(StateError, match=f"^state '{NOBODY}' cannot be used: ResponseError$"), server.asked():
        raise ResponseError
    # Neither of them says that the server is away.
    assert "see that the server runs" in ask()


@pytest.mark.parametrize(
    ("name", "kind", "is_one"),
    [
        ("10", "watch", True),
        ("0", "watch", True),
        ("11", "watch", False),
        ("41", "click", True),
        ("41", "like", False),
        ("e00000001", "like", True),
        ("e0000001", "like", False),
        ("x00000001", "like", False),
        ("e0000000x", "like", False),
        ("\u0661\u0661", "click", False),
        ("e0000000\u0661", "like", False),
        ("", "watch", False),
    ],
)
def test_which_ids_an_older_foveate_gave_events_of_a_log(name: str, kind: str, *, is_one: bool) -> None:
    assert _is_row_number(name, kind) is is_one


def test_requests_are_listed_and_read_page_after_page(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impressions, "_PAGE", 2)
    moments = iter(range(1_000, 9_000, 1_000))
    with RedisImpressions(redis_server.address(), clock=lambda: next(moments)) as sink:
        sink.write([served("a"), served("b", "v"), served("c")])
        sink.write([served("d"), served("e", "v")])
        assert sink.request_ids() == sink.request_ids(None) == ["e", "d", "c", "b", "a"]
        assert [sink.request_ids(limit) for limit in (0, 1, 4)] == [[], ["e"], ["e", "d", "c", "b"]]
        pages = [[(one.served.slate.request_id, one.sequence, one.kept_at) for one in page] for page in sink.since(0)]
        assert pages == [
            [("a", 1000, 1000), ("b", 1001, 1001)],
            [("c", 1002, 1002), ("d", 2000, 2000)],
            [("e", 2001, 2001)],
        ]
        assert [one.served.slate.request_id for page in sink.since(1001) for one in page] == ["c", "d", "e"]
        assert list(sink.since(2001)) == []
        assert [one.served.slate.request_id for one in sink.shown_to("u")] == ["a", "c", "d"]
        assert sink.shown_to("nobody") == []
        # One that the server has dropped is passed over.
        sink._server._client.delete("foveate:request:c")
        assert [one.served.slate.request_id for page in sink.since(0) for one in page] == ["a", "b", "d", "e"]
        assert [one.served.slate.request_id for one in sink.shown_to("u")] == ["a", "d"]
        with pytest.raises(NotFoundError, match=re.escape(f"no request 'c' is kept in '{redis_server.address()}'")):
            sink.read("c")


@pytest.mark.parametrize(("days", "seconds"), [(2, 172_800), (0.5, 43_200)])
def test_requests_are_kept_for_as_long_as_the_settings_say(redis_server: Redis, days: float, seconds: int) -> None:
    with RedisImpressions(redis_server.address(impressions_days=days)) as sink:
        client = sink._server._client
        before, _ = client.time()
        sink.write([served("a")])
        after, _ = client.time()
        for name in ("foveate:request:a", "foveate:shown:u"):
            assert before + seconds <= client.execute_command("EXPIRETIME", name) <= after + seconds + 1


def test_a_server_says_where_it_is() -> None:
    assert repr(Server("redis://u:p@host:1/2?history=5")) == "Server('redis://u@host:1/2?history=5')"


def test_what_an_older_foveate_wrote_is_brought_up_to_date(redis_server: Redis, tmp_path: Path) -> None:
    """It knew imported events by the numbers of their rows, which another log has too."""
    week = tmp_path / "week.csv"
    week.write_text("user_id,item_id,occurred_at\n" + "".join(f"{u},{i},17000000{u}{i}\n" for u in "12" for i in "34"))
    dataset = import_dataset(from_dict(Reader, "table"), week, tmp_path / "week")
    with RedisState(redis_server.address(), clock=lambda: 1_700_700_000_000_000) as state:
        frame = event_rows(dataset.events)
        state.append([ViewerEvent(*row) for row in frame.iter_rows()])
        state.append([ViewerEvent("1", "x", "click", occurred_at=1_700_600_000_000_000, event_id="11")])
        client = state._server._client
        assert client.get("foveate:schema") == b"2"
        client.delete("foveate:schema")
        client.zrem("foveate:ids:1", "unknown")
    with RedisState(redis_server.address(), clock=lambda: 1_700_700_000_000_001) as state:
        assert state.append([ViewerEvent("1", "x", "click", event_id="11")]) == 0
        before = [one for part in state.kept() for one in part]
        assert seed(state, dataset).new == 0
        after = [one for part in state.kept() for one in part]
        assert len(after) == len(before) == 5
        assert [one.version for one in after] == [one.version for one in before]
        assert state._server._client.get("foveate:schema") == b"2"
    check_state(redis_server.address())


def test_what_a_newer_foveate_wrote_is_refused(redis_server: Redis) -> None:
    with RedisState(redis_server.address()) as state:
        state.append(watched("a"))
        state._server._client.set("foveate:schema", "99")
    for ask in (lambda state: state.history("u"), lambda state: state.append(watched("b"))):
        with RedisState(redis_server.address()) as state, pytest.raises(StateError, match="version 99"):
            ask(state)


def test_a_copy_whose_counts_differ_says_them_and_fails(redis_server: Redis, tmp_path: Path) -> None:
    from foveate_cli.state import command

    with open_viewers(tmp_path / "s") as state:
        state.append(watched(*"abcdefg"))
    short = redis_server.address(history=3, past=2)
    result = CliRunner().invoke(command, ["copy", str(tmp_path / "s"), short])
    assert result.exit_code == 1, result.output
    assert "holds 5 of 7 events and 0 of 0 served requests" in " ".join(result.output.split())
    result = CliRunner().invoke(command, ["copy", str(tmp_path / "s"), redis_server.address(prefix="other")])
    assert result.exit_code == 0, result.output


def test_the_verbs_back_up_and_restore(redis_server: Redis, tmp_path: Path) -> None:
    from foveate_cli.state import command

    address, saved, run = redis_server.address(), str(tmp_path / "saved"), CliRunner().invoke
    with open_viewers(address) as state, open_impressions(address) as sink:
        state.append(watched("a", "b"))
        sink.write([served("r1")])
        result = run(command, ["backup", address, saved])
        assert "backed up 2 events and 1 served requests" in result.output
        assert isinstance(run(command, ["backup", address, saved]).exception, OutputExistsError)
        Server(address)._client.flushall()
        result = run(command, ["restore", saved, address])
        assert "restored 2 events and 1 served requests; 2 of the events are new there" in result.output
        assert state.history("u").item_ids == ("a", "b")
    result = run(command, ["restore", saved, str(tmp_path / "file")])
    assert result.exit_code == 0, result.output
    Path(saved).write_bytes(b"no database" * 1000)
    assert isinstance(run(command, ["restore", saved, address]).exception, StateError)
    assert isinstance(run(command, ["restore", str(tmp_path / "none"), address]).exception, StateError)


def test_a_backup_is_not_put_beside_the_log_of_a_lost_file(tmp_path: Path) -> None:
    with open_viewers(tmp_path / "s") as state:
        state.append(watched("a"))
    backup_state(tmp_path / "s", tmp_path / "saved")
    (tmp_path / "s").unlink()
    (tmp_path / "s-wal").write_bytes(b"what was not checkpointed")
    with pytest.raises(StateError, match="move it away"):
        restore_state(tmp_path / "saved", tmp_path / "s")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s-wal", "saved"]


def test_a_record_of_before_is_still_read(redis_server: Redis) -> None:
    """It was one JSON text, with the features as base64."""
    wrote = served("r1")
    slate = {name: getattr(wrote.slate, name) for name in ("request_id", "user_id", "bundle_id", "policy_id")}
    slate |= {"feature_schema": "f1", "relaxed": [], "relevance_paid": None, "state_version": 0, "degraded": []}
    features = base64.b64encode(wrote.slate.items[0].features.tobytes()).decode()
    record = {
        "request": to_dict(wrote.request),
        "context": to_dict(wrote.context),
        "slate": slate,
        "items": [["x", 0, 0.5, ["attention"], features]],
    }
    with RedisImpressions(redis_server.address()) as sink:
        sink._server._client.set("foveate:request:r1", zlib.compress(json.dumps(record).encode(), 1))
        back = sink.read("r1")
    assert (back.request, back.context) == (wrote.request, wrote.context)
    np.testing.assert_array_equal(back.slate.items[0].features, wrote.slate.items[0].features)


def test_what_an_export_has_not_read_stays_on_the_server(redis_server: Redis) -> None:
    with RedisState(redis_server.address(history=2, past=1)) as state:
        state.append(watched("a"))
        state.move_export("nightly", state.version())
        state.append(watched(*"bcdef"))
        assert [one.event.item_id for part in state.kept() for one in part] == [*"bcdef"]
        state.move_export("nightly", state.version())
        state.append(watched("g"))
        assert [one.event.item_id for part in state.kept() for one in part] == [*"efg"]


def test_what_an_export_has_not_read_of_impressions_gets_its_time_only_then(redis_server: Redis) -> None:
    """The server drops a request by itself after some days, unless it is held back."""
    with RedisState(redis_server.address()) as state, RedisImpressions(redis_server.address()) as sink:

        def times(*keys: str) -> list[bool]:
            return [state._server._client.ttl(f"foveate:{key}") > 0 for key in keys]

        sink.write([served("r1")])
        assert times("request:r1", "shown:u") == [True, True]
        state.register_export(Export("nightly", "/exports/nightly"))
        assert times("request:r1", "shown:u") == [False, False]
        sink.write([served("r2"), served("r3", user="v")])
        assert times("request:r2", "request:r3", "shown:v") == [False, False, False]
        first, second, third = [one.sequence for part in sink.since(0) for one in part]
        sink.move_export("nightly", first)
        # The list of a viewer's requests stays as long as the newest of them.
        assert times("request:r1", "request:r2", "shown:u") == [True, False, False]
        sink.move_export("nightly", second)
        assert times("request:r2", "shown:u", "request:r3", "shown:v") == [True, True, False, False]
        state.drop_export("nightly")
        assert times("request:r3", "shown:v") == [True, True]
        assert third > second
        sink.write([served("r4")])
        assert times("request:r4", "shown:u") == [True, True]


def test_old_events_are_dropped_after_their_days_unless_an_export_has_not_read_them(redis_server: Redis) -> None:
    address, now = redis_server.address(events_days=TEN_MINUTES), [time.time_ns() // 1000]

    def kept(state: RedisState) -> list[str]:
        return sorted(one.event.item_id for part in state.kept() for one in part)

    with RedisState(address, clock=lambda: now[0]) as state, state._server.asked() as client:
        lists = [state._server.key(name, "u") for name in (EVENTS, IDS)]
        # A comma, a quotation mark and half of a pair of surrogates in an id do not hide the time behind it.
        state.append(watched('a,"b\\', "\ud800"))
        assert all(590 < client.ttl(one) <= 601 for one in lists)
        now[0] += 6 * MINUTE
        state.append(watched("c"))
        now[0] += 6 * MINUTE
        state.append(watched("d"))
        assert kept(state) == ["c", "d"]
        assert state.append(watched("c")) == 0
        with pytest.raises(NotFoundError, match="no longer kept"):
            state.history("u", state.history("u").version - 2)
        state.register_export(Export("nightly", "/exports"))
        assert all(client.ttl(one) == -1 for one in lists)
        now[0] += 60 * MINUTE
        state.append(watched("e"))
        assert kept(state) == ["c", "d", "e"]
        assert all(client.ttl(one) == -1 for one in lists)
        state.move_export("nightly", state.version() - 1)
        assert all(client.ttl(one) == -1 for one in lists)
        state.move_export("nightly", state.version())
        assert all(client.ttl(one) > 0 for one in lists)
        state.append(watched("f"))
        assert kept(state) == ["e", "f"]
        state.drop_export("nightly")
        assert all(client.ttl(one) > 0 for one in lists)
        # The server's own clock is far ahead of these: it drops the list by itself.
        now[0] -= 120 * MINUTE
        state.append(watched("x", user="v"))
        assert kept(state) == ["e", "f"]
        assert state.append(watched("x", user="v")) == 1
    with RedisState(redis_server.address()) as forever, forever._server.asked() as client:
        forever.append(watched("g"))
        assert all(client.ttl(one) == -1 for one in lists)


def test_an_import_never_brings_what_the_server_has_dropped(redis_server: Redis) -> None:
    def table(start: int, end: int) -> pl.DataFrame:
        numbers = pl.Series(range(start, end), dtype=pl.Int64)
        times = (numbers * 1_000_000).cast(pl.Datetime("us", "UTC"))
        columns = {"item_id": numbers.cast(pl.String), "occurred_at": times, "order": numbers}
        return pl.DataFrame(columns).with_columns(pl.lit("u").alias("user_id"), pl.lit("click").alias("kind"))

    with RedisState(redis_server.address(history=3, past=2)) as state:
        state.import_events(table(0, 10))
        assert state.history("u").item_ids == ("7", "8", "9")
        assert state.import_events(table(0, 4)) == 0
        assert state.import_events(table(3, 12)) == 2
        assert state.history("u").item_ids == ("9", "10", "11")


def test_what_nobody_can_have_done_is_refused_by_a_server_too(redis_server: Redis) -> None:
    with RedisState(redis_server.address()) as state:
        with pytest.raises(RequestError, match="'watch' of viewer 'u'"):
            state.append([ViewerEvent("u", "a", "click"), ViewerEvent("u", "b", "watch", float("nan"))])
        assert state.history("u").item_ids == ()
