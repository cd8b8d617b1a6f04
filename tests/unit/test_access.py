"""Who may ask: keys, scopes, rates, web pages of other origins, and what is never written down."""

from __future__ import annotations

import base64
import json
import logging
import os
import shutil
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, NotFoundError
from foveate_cli.keys import command
from foveate_serve.app import check_access, check_host
from foveate_serve.config import AccessConfig, ServeConfig
from foveate_serve.http.keys import KeyFile, Keys
from foveate_serve.http.paging import _digest
from foveate_serve.http.schemas.ask import RecommendIn

ASK = {"user_id": "u00017", "k": 2}
EVENTS = {"events": [{"user_id": "u00017", "item_id": "v00001", "kind": "like"}]}


def verb(*args: str) -> str:
    done = CliRunner().invoke(command, list(args), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "made" / "keys.json"


@pytest.fixture(scope="module")
def secrets(file: Path) -> dict[str, str]:
    """One key of each kind, made by the command line."""
    kinds = {"read": ("--scope", "read"), "write": ("--scope", "write"), "admin": ("--scope", "admin")}
    kinds["inspect"] = ("--scope", "read", "--scope", "inspect")
    kinds["viewer"] = ("--scope", "read", "--scope", "write", "--viewer", "u00017")
    kinds["sessions"] = ("--scope", "read", "--scope", "write", "--sessions")
    kinds["hasty"] = ("--scope", "read", "--rate", "3/hour")
    kinds["slow"] = ("--scope", "read", "--rate", "3/hour")
    return {name: verb("add", name, *options, "--file", str(file)) for name, options in kinds.items()}


@pytest.fixture(scope="module")
def guarded(
    small_bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
    serving: Callable[[Bundle, Path, ServeConfig], AbstractContextManager[httpx.Client]],
    file: Path,
    secrets: dict[str, str],
) -> Iterator[httpx.Client]:
    """A server that lets only these keys in."""
    state = tmp_path_factory.mktemp("guarded") / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    access = AccessConfig(keys=file, origins=("https://example.org",))
    with serving(small_bundle, state, ServeConfig(topology="fused", deadline_ms=60_000, access=access)) as client:
        yield client


def post(http: httpx.Client, path: str, body: Any, secret: str | None) -> httpx.Response:
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    return http.post(path, json=body, headers=headers)


def test_no_secret_is_kept(file: Path, secrets: dict[str, str]) -> None:
    kept = file.read_text(encoding="utf-8")
    assert not [secret for secret in secrets.values() if secret in kept or secret.split("_", 2)[2] in kept]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    listed = verb("list", "--file", str(file))
    assert all(name in listed for name in secrets)
    assert not [secret for secret in secrets.values() if secret in listed]


def test_without_a_key_nothing_is_read(guarded: httpx.Client, secrets: dict[str, str]) -> None:
    wrong = [None, "fv", "fv__", secrets["read"][:-1], secrets["read"] + "x", "fv_00000000_x"]
    for secret in (*wrong, secrets["read"].replace("_", "-")):
        answer = post(guarded, "/v1/recommend", ASK, secret)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    basic = guarded.post("/v1/recommend", json=ASK, headers={"authorization": f"Basic {secrets['read']}"})
    assert basic.status_code == 401
    unread = guarded.post("/v1/recommend", content=b"{", headers={"content-type": "application/json"})
    assert unread.status_code == 401
    for path in ("/health/live", "/health/ready", "/openapi.json", "/docs", "/problems/unauthorized"):
        assert guarded.get(path).status_code == 200


def test_a_key_opens_what_its_scopes_say(guarded: httpx.Client, secrets: dict[str, str]) -> None:
    asked = {"/v1/recommend": ASK, "/v1/why-not": {**ASK, "item_id": "v00001"}, "/v1/events": EVENTS, "/v1/other": {}}
    opens = {
        "read": {"/v1/recommend": 200, "/v1/why-not": 403, "/v1/events": 403, "/v1/other": 403},
        "inspect": {"/v1/recommend": 200, "/v1/why-not": 200, "/v1/events": 403, "/v1/other": 403},
        "write": {"/v1/recommend": 403, "/v1/why-not": 403, "/v1/events": 200, "/v1/other": 403},
        "admin": {"/v1/recommend": 200, "/v1/why-not": 200, "/v1/events": 200, "/v1/other": 404},
    }
    for name, statuses in opens.items():
        for path, status in statuses.items():
            assert post(guarded, path, asked[path], secrets[name]).status_code == status, (name, path)
        erased = guarded.delete("/v1/viewers/nobody", headers={"authorization": f"Bearer {secrets[name]}"})
        assert erased.status_code == (200 if name == "admin" else 403)
    header = {"authorization": f"bearer {secrets['read']}"}
    assert guarded.get("/v1/items/v00001", headers=header).status_code == 200
    assert guarded.get("/v1/surfaces", headers=header).status_code == 200
    assert "lacks the scope 'write'" in post(guarded, "/v1/events", EVENTS, secrets["read"]).json()["detail"]


def test_a_key_with_a_rate_is_told_when_to_come_again(guarded: httpx.Client, secrets: dict[str, str]) -> None:
    answers = [post(guarded, "/v1/recommend", ASK, secrets["slow"]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["code"] == "rate_limited"
    assert 0 < int(answers[3].headers["retry-after"]) <= 3600
    assert post(guarded, "/v1/recommend", ASK, secrets["read"]).status_code == 200
    # Another key of the same rate has a count of its own.
    assert [post(guarded, "/v1/recommend", ASK, secrets["hasty"]).status_code for _ in range(4)] == [200, 200, 200, 429]


NOW = "2025-03-14T00:00:00Z"


def test_what_tells_of_histories_and_of_what_is_not_out_needs_a_scope(
    guarded: httpx.Client, secrets: dict[str, str]
) -> None:
    for more in ({"explain": True}, {"now": NOW}, {"now": "2199-01-01T00:00:00Z"}):
        refused = post(guarded, "/v1/recommend", {**ASK, **more}, secrets["read"])
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "'inspect'" in refused.json()["detail"]
        assert post(guarded, "/v1/recommend", {**ASK, **more}, secrets["inspect"]).status_code == 200
    # A surface that explains by itself does not for a key that may not see it.
    channels = {**ASK, "surface": "channels"}
    told = {
        name: post(guarded, "/v1/recommend", channels, secrets[name]).json()["items"] for name in ("read", "inspect")
    }
    assert [item["explanation"] for item in told["read"]] == [None, None]
    assert all(item["explanation"] for item in told["inspect"])


def test_a_bound_key_asks_for_its_own_alone(guarded: httpx.Client, secrets: dict[str, str]) -> None:
    other = {**ASK, "user_id": "u00018"}
    session = {"surface": "session", "history": [{"item_id": "v00001"}], "k": 2}
    shared = {"surface": "trending", "k": 2}
    opens = {"viewer": (200, 403, 403, 200), "sessions": (403, 403, 200, 200), "read": (200, 200, 200, 200)}
    for name, statuses in opens.items():
        asked = [post(guarded, "/v1/recommend", body, secrets[name]) for body in (ASK, other, session, shared)]
        assert tuple(answer.status_code for answer in asked) == statuses, name
    others = {"events": [*EVENTS["events"], {**EVENTS["events"][0], "user_id": "u00018"}]}
    for name, statuses in {"viewer": (200, 403), "sessions": (403, 403)}.items():
        told = [post(guarded, "/v1/events", body, secrets[name]).status_code for body in (EVENTS, others)]
        assert tuple(told) == statuses, name


def test_cursors_are_signed_and_those_of_an_older_file_too(
    guarded: httpx.Client, secrets: dict[str, str], file: Path
) -> None:
    cursor = post(guarded, "/v1/recommend", ASK, secrets["read"]).json()["cursor"]
    assert post(guarded, "/v1/recommend", {**ASK, "cursor": cursor}, secrets["read"]).status_code == 200
    request = RecommendIn(**ASK).message()
    for now in (-1, 2**63 - 1, 8_000_000_000_000_000):
        head = struct.pack("<BqI", 2, now, 1)
        for secret in (b"", Keys.read(file).secret()):
            forged = base64.urlsafe_b64encode(_digest(request, head, secret) + head).decode().rstrip("=")
            answer = post(guarded, "/v1/recommend", {**ASK, "cursor": forged}, secrets["read"])
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
    keys = Keys.read(file)
    assert keys.signing
    assert len({keys.secret(), replace(keys, signing="").secret(), Keys().secret()}) == 3
    assert keys.revoked(keys.keys[0].key_id).signing == keys.signing


def test_web_pages_of_named_origins_alone_may_ask(guarded: httpx.Client, secrets: dict[str, str]) -> None:
    def preflight(origin: str) -> httpx.Response:
        wanted = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        return guarded.options("/v1/recommend", headers={"origin": origin, **wanted})

    assert preflight("https://example.org").headers["access-control-allow-origin"] == "https://example.org"
    assert preflight("https://elsewhere.org").status_code == 400
    refused = guarded.post("/v1/recommend", json=ASK, headers={"origin": "https://example.org"})
    assert refused.headers["access-control-allow-origin"] == "https://example.org", "a page can read why"


def test_the_openapi_page_says_that_keys_are_asked_for(guarded: httpx.Client, small_api: httpx.Client) -> None:
    page = guarded.get("/openapi.json").json()
    assert page["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert page["paths"]["/v1/recommend"]["post"]["security"] == [{"key": []}]
    assert "security" not in page["paths"]["/health/live"]["get"]
    assert "securitySchemes" not in small_api.get("/openapi.json").json()["components"]


def test_changes_are_seen_while_it_runs_and_damage_changes_nothing(
    guarded: httpx.Client, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def within(status: int, secret: str) -> bool:
        give_up = time.monotonic() + 20
        while post(guarded, "/v1/recommend", ASK, secret).status_code != status and time.monotonic() < give_up:
            time.sleep(0.2)
        return post(guarded, "/v1/recommend", ASK, secret).status_code == status

    secret = verb("add", "a late one", "--file", str(file))
    assert within(200, secret)
    whole = file.read_bytes()
    with caplog.at_level(logging.ERROR, "ray.serve"):
        file.write_text("{", encoding="utf-8")
        time.sleep(1.2)
        assert within(200, secret)
    file.write_bytes(whole)
    verb("revoke", secret.split("_")[1], "--file", str(file))
    assert within(401, secret)
    assert secret not in caplog.text


def test_a_file_of_keys_is_looked_at_once_a_second(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, now = tmp_path / "keys.json", [100.0]

    def names() -> list[str]:
        return [key.name for key in held.current().keys]

    def looked(after: float) -> list[str]:
        now[0] += after
        return names()

    verb("add", "first", "--scope", "read", "--file", str(path))
    held = KeyFile(path, clock=lambda: now[0])
    verb("add", "second", "--scope", "read", "--file", str(path))
    assert looked(0.99) == ["first"]
    assert looked(0.01) == ["first", "second"]
    verb("add", "third", "--scope", "read", "--file", str(path))
    # The next look is a second after the last one, not after the first.
    assert looked(0.99) == ["first", "second"]
    assert looked(0.01) == ["first", "second", "third"]
    # Of the same size and time, by another file in its place.
    whole, times = path.read_text(), path.stat()
    other = tmp_path / "other.json"
    other.write_text(whole.replace("third", "sixth"))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert looked(1.0) == ["first", "second", "sixth"]
    with caplog.at_level(logging.ERROR, "ray.serve"):
        path.write_text("{")
        assert looked(1.0) == ["first", "second", "sixth"]
        assert [record.getMessage().endswith("the keys stay as they were") for record in caplog.records] == [True]
        # It is looked at again as long as it cannot be read.
        assert looked(1.0) == ["first", "second", "sixth"]
        assert len(caplog.records) == 2
        path.unlink()
        assert looked(1.0) == ["first", "second", "sixth"]
    path.write_text(whole)
    assert looked(1.0) == ["first", "second", "third"]


def test_keys_that_cannot_be_are_refused(tmp_path: Path, file: Path) -> None:
    for settings in ({"keys": [{"name": "x"}]}, {"kyes": []}):
        (tmp_path / "keys").write_text(json.dumps(settings))
        with pytest.raises(ConfigError, match="cannot be read"):
            Keys.read(tmp_path / "keys")
    with pytest.raises(ConfigError, match="foveate keys add"):
        Keys.read(tmp_path / "none")
    with pytest.raises(ConfigError, match="write it like"):
        Keys().added("x", ["read"], "often")
    with pytest.raises(NotFoundError):
        Keys().revoked("00000000")
    with pytest.raises(ConfigError, match="origin"):
        AccessConfig(origins=("example.org",))
    config = ServeConfig(access=AccessConfig(keys=Path("here"), origins=("*",)))
    assert from_dict(ServeConfig, to_dict(config)) == config
    assert config.access.keys == Path.cwd() / "here"


def test_a_server_that_is_open_to_the_network_is_warned_of(file: Path, secrets: dict[str, str]) -> None:
    said: list[str] = []
    check_access(ServeConfig(), said.append)
    check_access(ServeConfig(host="0.0.0.0", access=AccessConfig(keys=file)), said.append)  # noqa: S104
    assert said == []
    check_access(ServeConfig(host="0.0.0.0"), said.append)  # noqa: S104
    [line] = said
    assert "open to the network" in line
    with pytest.raises(ConfigError):
        check_access(ServeConfig(access=AccessConfig(keys=file.parent / "none")), said.append)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::]"])  # noqa: S104
def test_hosts_behind_haproxy_are_this_machine_or_all_addresses(host: str) -> None:
    check_host(ServeConfig(host=host))


@pytest.mark.parametrize("host", ["192.0.2.7", "server.example.org"])
def test_a_host_that_would_never_become_ready_is_refused_at_once(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"{host}.*0\.0\.0\.0.*proxy=python"):
        check_host(ServeConfig(host=host))
    check_host(ServeConfig(host=host, proxy="python"))


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_this_machine_by_ipv6_needs_the_python_proxy(host: str) -> None:
    with pytest.raises(ConfigError, match="listen there, or set proxy=python"):
        check_host(ServeConfig(host=host))
    check_host(ServeConfig(host=host, proxy="python"))
