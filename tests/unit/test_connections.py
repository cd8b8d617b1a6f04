"""A connection that stalls, trickles, sends a head without end or does not read is closed; good ones are not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from foveate_serve.http.connections import BoundedConnection, bound_connections

PATIENCE_S = 60.0
"""Far beyond the bounds of these tests: without them a connection stays open until then."""
GOOD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Quick(BoundedConnection):
    """The same with bounds that a test can wait for."""

    receive_s = 0.3
    send_s = 0.3
    most = 40


async def small(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, whatever the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Crowded(Quick):
    """The same with time for a good client on a busy machine to ask again."""

    receive_s = 3.0


class Endless:
    """Writes an answer for as long as it is taken."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.ensure_future(self._gone(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not reading.done():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
        self.ended.set()

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


class Patient(BoundedConnection):
    """The same with as much time as a test has."""

    receive_s = 2 * PATIENCE_S


@contextmanager
def listening(app: Callable[..., object], kind: type[BoundedConnection] = Quick) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, http=kind, lifespan="off", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as own:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield own.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(small) as found:
        yield found


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def is_closed(client: socket.socket) -> bool:
    """Read until the connection is closed; a timeout fails the test."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def is_cut(client: socket.socket, drops: bytes, pause_s: float) -> bool:
    """Send until the connection is closed."""
    give_up = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < give_up:
            client.sendall(drops)
            time.sleep(pause_s)
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n", b"GET / HT", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{", GOOD + b"GET / HT"],
)
def test_who_stalls_loses_the_connection(port: int, sent: bytes) -> None:
    with connected(port) as client:
        client.sendall(sent)
        assert is_closed(client)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\ncontent-length: 999999\r\n\r\n", GOOD])
def test_who_trickles_loses_the_connection(port: int, start: bytes) -> None:
    drops = b"x" if start.startswith(b"POST") else b"a: b\r\n" if start != GOOD else b"\r\n"
    with connected(port) as client:
        client.sendall(start)
        assert is_cut(client, drops, pause_s=0.02)


def test_a_head_without_end_is_not_read_on() -> None:
    with listening(small, Patient) as port, connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\na: ")
        assert is_cut(client, b"x" * 65_536, pause_s=0)


def test_who_does_not_read_an_answer_loses_the_connection() -> None:
    app = Endless()
    with listening(app) as port, connected(port) as client:
        client.sendall(GOOD)
        assert app.ended.wait(PATIENCE_S)


def test_connections_are_bounded_in_number_and_good_ones_served_afterwards() -> None:
    with listening(small, Crowded) as port:
        crowd = [connected(port) for _ in range(3 * Crowded.most)]
        assert all(map(is_closed, crowd))
        for client in crowd:
            client.close()
        with connected(port) as client:
            for _ in range(3):
                client.sendall(GOOD)
                assert client.recv(1000).endswith(b"ok")


def test_servers_that_start_afterwards_bound_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.config.HTTP_PROTOCOLS", {**uvicorn.config.HTTP_PROTOCOLS})
    monkeypatch.setattr("foveate_serve.http.connections.HTTP_PROTOCOLS", uvicorn.config.HTTP_PROTOCOLS)
    bound_connections()
    config = uvicorn.Config(small)
    config.load()
    assert config.http_protocol_class is BoundedConnection
