"""An erased viewer is in no table, file, key or export any more, and the certificate says so or says what is left."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

import foveate
from foveate.bundle import default_state
from foveate.bundle.manifest import Manifest
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import NotFoundError, RequestError
from foveate.data.served.chain import read_chain
from foveate.served_log.erase import Certificate
from foveate.served_log.export import LOCK
from foveate.state.base import ImpressionStore, ViewerEvent, ViewerStore
from foveate.state.connect import open_impressions, open_viewers
from foveate.storage.files import locked
from served_world import NOW, SECOND, bytes_of, killed_at_each_step, rows, shown

if TYPE_CHECKING:
    from click import Command

    from lab.stores import Redis

ERIKA = "erika-mustermann"


def live(viewers: ViewerStore, impressions: ImpressionStore) -> None:
    """Have Erika and another viewer do something; one of Erika's requests was made before the login."""
    impressions.write([shown("r1", ERIKA, ["a", "b"]), shown("r2", "u", ["a"]), shown("r3", "", ["secret-of-hers"])])
    viewers.append(
        [
            ViewerEvent(ERIKA, "a", "comment", occurred_at=NOW + SECOND, event_id=f"{ERIKA}-1", text="ach so"),
            ViewerEvent(ERIKA, "secret-of-hers", "like", occurred_at=NOW + SECOND, impression_id="r3:0"),
            ViewerEvent("u", "a", "click", occurred_at=NOW + SECOND, event_id="u-1"),
        ]
    )


def nothing_left(folder: Path) -> None:
    found = bytes_of(folder)
    for secret in (ERIKA.encode(), b"ach so", b"secret-of-hers"):
        assert secret not in found


def test_an_erased_viewer_is_in_no_table_file_key_or_export(
    store: str, stores: tuple[ViewerStore, ImpressionStore], tmp_path: Path
) -> None:
    viewers, impressions = stores
    live(viewers, impressions)
    key = tmp_path.parent / f"{tmp_path.name}.key"
    key.write_bytes(b"k" * 32)
    foveate.export_log(store, tmp_path / "plain", settle_s=0)
    foveate.export_log(store, tmp_path / "named", settle_s=0, pseudonyms=key)
    others = rows(tmp_path / "plain", "events").filter(user_id="u")
    certificate = foveate.erase_viewer(store, ERIKA)
    nothing_left(tmp_path)
    assert certificate.done
    [own] = certificate.stores
    assert (own.events, own.requests, own.sessions) == (2, 2, 1)
    assert [one.rows for one in certificate.exports] == [5, 5]
    for name in ("plain", "named"):
        events, shows = rows(tmp_path / name, "events"), rows(tmp_path / name, "impressions")
        assert (events.height, shows["request_id"].to_list()) == (1, ["r2"])
        last = read_chain(tmp_path / name)[-1]
        assert (last.reason, last.erasures, len(last.removed)) == ("erasure", (certificate.erasure_id,), 2)
        assert last.digest in {one.change for one in certificate.exports}
        assert last.is_signed(viewers.secret())
    assert rows(tmp_path / "plain", "events").equals(others)
    # What the others do goes on where it was, and nothing of hers is exported again.
    viewers.append([ViewerEvent("u", "b", "click")])
    assert foveate.export_log(store, tmp_path / "plain", settle_s=0).events == 1
    again = foveate.erase_viewer(store, ERIKA)
    assert again.done
    assert sum(one.rows for one in again.exports) == 0
    assert again.bundles == ()


def test_a_certificate_tells_whom_it_is_about_to_who_knows_and_is_signed(
    store: str, stores: tuple[ViewerStore, ImpressionStore]
) -> None:
    live(*stores)
    certificate = foveate.erase_viewer(store, ERIKA)
    assert certificate.is_about(ERIKA)
    assert not certificate.is_about("u")
    assert ERIKA not in str(to_dict(certificate))
    secret = stores[0].secret()
    back = from_dict(Certificate, to_dict(certificate))
    assert back.is_signed(secret)
    assert not from_dict(Certificate, {**to_dict(certificate), "erased_at": 1}).is_signed(secret)
    with pytest.raises(RequestError, match="empty"):
        foveate.erase_viewer(store, "")


def test_beside_a_reader_the_answer_says_when_and_a_write_after_it_wipes(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with open_viewers(path) as viewers, open_impressions(path) as impressions:
        live(viewers, impressions)
        foveate.export_log(path, tmp_path / "log", settle_s=0)
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM events").fetchone()
            certificate = foveate.erase_viewer(path, ERIKA)
            assert not certificate.done
            assert not certificate.stores[0].wiped
            assert "the next write after the reader's end" in certificate.stores[0].remainder
            # The exports do not wait for the reader.
            assert [one.done for one in certificate.exports] == [True]
            nothing_left(tmp_path / "log")
            reader.execute("COMMIT")
        assert foveate.erase_viewer(path, ERIKA).done
        nothing_left(tmp_path)


def test_an_export_that_is_away_or_under_way_follows_later(tmp_path: Path) -> None:
    path, log = tmp_path / "state.sqlite", tmp_path / "log"
    with open_viewers(path) as viewers, open_impressions(path) as impressions:
        live(viewers, impressions)
        foveate.export_log(path, log, settle_s=0)
        log.rename(tmp_path / "away")
        certificate = foveate.erase_viewer(path, ERIKA)
        [export] = certificate.exports
        assert not certificate.done
        assert "cannot be reached from here" in export.remainder
        assert "the next 'foveate log export'" in export.remainder
        (tmp_path / "away").rename(log)
        with locked(log / LOCK):
            assert "under way" in foveate.erase_viewer(path, ERIKA).exports[0].remainder
        assert foveate.export_log(path, log, settle_s=0).erasures == 2
        nothing_left(tmp_path)


def test_an_erasure_that_is_killed_at_any_step_is_ended_by_the_next(tmp_path: Path) -> None:
    path, log = tmp_path / "state.sqlite", tmp_path / "log"
    with open_viewers(path) as viewers, open_impressions(path) as impressions:
        live(viewers, impressions)
    foveate.export_log(path, log, settle_s=0)
    assert killed_at_each_step(f"foveate.erase_viewer({str(path)!r}, {ERIKA!r})") > 4
    nothing_left(tmp_path)
    assert rows(log, "events")["user_id"].to_list() == ["u"]
    assert len(read_chain(log)) == 2


def test_bundles_that_had_learned_from_the_viewer_are_named(
    tmp_path: Path, stores: tuple[ViewerStore, ImpressionStore], store: str
) -> None:
    viewers, impressions = stores
    for name, until in (("timed", NOW), ("by-order", None)):
        (tmp_path / name).mkdir()
        manifest = Manifest(name, "0", {}, {}, (), (), (), "", (), 1, f"data of {name}", learned_until=until)
        manifest.identified().write(tmp_path / name)
    for name in ("timed", "by-order", "lost"):
        impressions.remember_bundle(name, tmp_path / name)
    viewers.append(
        [
            ViewerEvent("early", "a", "click", occurred_at=NOW - SECOND),
            ViewerEvent("late", "a", "click", occurred_at=NOW + SECOND),
        ]
    )
    assert [(one.bundle_id, one.learned, one.data_hash) for one in foveate.erase_viewer(store, "early").bundles] == [
        ("by-order", "yes", "data of by-order"),
        ("lost", "unknown", ""),
        ("timed", "yes", "data of timed"),
    ]
    assert [one.bundle_id for one in foveate.erase_viewer(store, "late").bundles] == ["by-order", "lost"]
    assert foveate.erase_viewer(store, "nobody").bundles == ()


def test_the_file_of_viewers_beside_a_bundle_is_a_store_too(tmp_path: Path) -> None:
    with (
        open_viewers(tmp_path / "live") as viewers,
        open_impressions(tmp_path / "live") as impressions,
        open_viewers(default_state(tmp_path / "bundle")) as beside,
    ):
        live(viewers, impressions)
        impressions.remember_bundle("b1", tmp_path / "bundle")
        beside.append([ViewerEvent(ERIKA, "a", "click"), ViewerEvent("u", "a", "click")])
        foveate.export_log(default_state(tmp_path / "bundle"), tmp_path / "log", settle_s=0)
        certificate = foveate.erase_viewer(tmp_path / "live", ERIKA)
        assert [(Path(one.place).name, one.events) for one in certificate.stores] == [
            ("live", 2),
            ("bundle.state.sqlite", 1),
        ]
        assert [one.rows for one in certificate.exports] == [1]
        nothing_left(tmp_path)
        assert beside.users(9) == ["u"]


def test_a_server_of_redis_that_does_not_write_its_files_anew_is_told_of(redis_server: Redis) -> None:
    from foveate.state.redis.connection import Server

    address = redis_server.address()
    server = Server(address)
    with open_viewers(address) as viewers, open_impressions(address) as impressions, server.asked() as client:
        live(viewers, impressions)
        client.execute_command("ACL", "SETUSER", "default", "-bgrewriteaof")
        certificate = foveate.erase_viewer(address, ERIKA)
        assert not certificate.done
        assert "run BGREWRITEAOF and BGSAVE there, or erase again" in certificate.stores[0].remainder
        client.execute_command("ACL", "SETUSER", "default", "+bgrewriteaof")
        assert foveate.erase_viewer(address, ERIKA).done


def test_the_verbs_export_erase_and_keep_the_certificate(tmp_path: Path) -> None:
    from foveate_cli.log import command as log
    from foveate_cli.state import command as state

    def run(command: Command, *words: object) -> Result:
        return CliRunner().invoke(command, [str(word) for word in words])

    path, out = tmp_path / "state.sqlite", tmp_path / "log"
    with open_viewers(path) as viewers, open_impressions(path) as impressions:
        live(viewers, impressions)
        told = run(log, "export", "--state", path, "--out", out)
        assert told.exit_code == 0, told.output
        assert "4 impressions of 3 requests and 3 events (3 of them joined) are new, in 2 parts" in told.output
        name = viewers.exports()[0].name
        assert run(log, "list", "--state", path).output.split() == [name, str(out)]
        erased = run(state, "erase", path, ERIKA, "--certificate", tmp_path / "certificate.json")
        assert erased.exit_code == 0, erased.output
        assert "erased   2 events and 2 served requests (1 anonymous)" in erased.output
        assert "export   5 rows" in erased.output
        certificate = from_dict(Certificate, json.loads((tmp_path / "certificate.json").read_text()))
        assert certificate.is_signed(viewers.secret())
        kept = run(state, "certificates", path).output.splitlines()
        assert [json.loads(line) for line in kept] == [to_dict(certificate)]
        with locked(out / LOCK):
            again = run(state, "erase", path, ERIKA)
            assert again.exit_code == 1
            assert "left to do: an export is under way" in again.output
        assert run(log, "drop", "--state", path, name).exit_code == 0
        assert isinstance(run(log, "drop", "--state", path, name).exception, NotFoundError)
    for wrong in ("yesterday", "2026-03-17T18:00"):
        since = run(log, "export", "--state", path, "--out", out, "--since", wrong)
        assert isinstance(since.exception, RequestError)
