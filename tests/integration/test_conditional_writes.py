"""A file takes the place of what was read, unless somebody else has changed that meanwhile."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from foveate.core.errors import ConfigError, ReleaseError, StorageError
from foveate.releases.history import Entry
from foveate.releases.store import StoreBackend
from foveate.storage.conditional import replace_if_same
from foveate.storage.folder import Folder
from lab.stores import bucket

LINE = Entry("2026-01-01T00:00:00+00:00", "promote", "x")


@pytest.fixture(params=["here", "memory", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "s3":
        with bucket("conditions") as place:
            yield place.format("registry")
    else:
        yield str(tmp_path) if request.param == "here" else f"memory://conditions/{uuid.uuid4().hex}"


def test_a_file_is_replaced_only_where_it_is_what_was_read(address: str) -> None:
    folder = Folder.at(address)
    assert replace_if_same(folder, "a.txt", None, b"one")
    assert not replace_if_same(folder, "a.txt", None, b"other")
    assert not replace_if_same(folder, "a.txt", b"zero", b"other")
    assert folder.read("a.txt") == "one"
    assert replace_if_same(folder, "a.txt", b"one", b"two")
    assert folder.read("a.txt") == "two"
    assert folder.files() in (["a.txt"], [".a.txt.lock", "a.txt"])


@pytest.mark.parametrize("address", ["here", "s3"], indirect=True)
def test_of_many_who_count_at_once_none_is_lost(address: str) -> None:
    folder = Folder.at(address)
    assert replace_if_same(folder, "count", None, b"0")

    def count(times: int) -> None:
        for _ in range(times):
            while True:
                found = folder.read("count").encode()
                if replace_if_same(Folder.at(address), "count", found, str(int(found) + 1).encode()):
                    break

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, [5] * 4))
    assert folder.read("count") == "20"


@pytest.mark.parametrize("address", ["memory", "s3"], indirect=True)
def test_of_two_promotions_at_once_one_is_told_to_try_again(address: str) -> None:
    keepings = [StoreBackend(address), StoreBackend(address)]
    with keepings[0].locked(print, make=True):
        pass
    for keeping in keepings:
        assert keeping.history() == ()
    together = threading.Barrier(2)

    def promote(keeping: StoreBackend) -> str:
        together.wait()
        try:
            keeping.append(LINE)
        except ReleaseError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(2) as pool:
        refusals = sorted(pool.map(promote, keepings))
    assert refusals[0] == ""
    assert "somebody else changed it just now" in refusals[1]
    assert StoreBackend(address).history() == (LINE,)


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Have a store that answers every request so; yields an address at it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            answer(self)

        do_DELETE = do_PUT

        def log_message(self, *_: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(key, "testing")
            yield f"s3://a-bucket/registry?endpoint_override=http://127.0.0.1:{httpd.server_port}&region=us-east-1"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def status(code: int) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("ETag", '"0"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_a_store_that_heeds_no_condition_is_refused() -> None:
    with server(status(200)) as address, pytest.raises(ConfigError, match="has no conditional writes"):
        replace_if_same(Folder.at(address), "a.txt", None, b"one")


def test_a_store_that_lets_nobody_in_is_named() -> None:
    with (
        server(status(403)) as address,
        pytest.raises(StorageError, match=r"s3://a-bucket/registry.*cannot be written"),
    ):
        replace_if_same(Folder.at(address), "a.txt", None, b"one")


def test_an_address_that_nobody_can_write_on_a_condition_is_refused() -> None:
    folder = Folder.at("memory://conditions/x")
    elsewhere = Folder(folder.filesystem, folder.path, "ftp://conditions/x")
    with pytest.raises(ConfigError, match="has no conditional writes"):
        replace_if_same(elsewhere, "a.txt", None, b"one")
