"""Bounds on what one HTTP connection may take of a process.

uvicorn waits for ever for the rest of a request, and for who does not read its answer, and holds a head of any length.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

RECEIVE_S: Final = 10.0
"""Seconds from the first byte of a request, or from the start of a connection, until the request must be whole."""
SEND_S: Final = 10.0
"""Seconds for which an answer may wait until its reader takes more of it."""
LONGEST_HEAD: Final = 65_536
"""Bytes of a request's line and headers."""
MOST_CONNECTIONS: Final = 4096
"""Connections of one process, as many as HAProxy takes."""


class BoundedConnection(HttpToolsProtocol):
    """A connection that is closed where a client stalls, trickles, sends a head without end, or does not read."""

    receive_s: float = RECEIVE_S
    send_s: float = SEND_S
    most: int = MOST_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head = 0
        self._asked = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._request_came()
        self._answer_taken()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what comes between two requests begins one."""
        head = self._in_head
        super().data_received(data)
        between = not self._asked or self.cycle.response_complete
        if between and self._receiving is None and not self.transport.is_closing():
            self._await_request()
        self._head = self._head + len(data) if head and self._in_head else 0
        if self._head > LONGEST_HEAD:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request."""
        super().on_message_begin()
        self._in_head = True
        self._await_request()

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        self._in_head = False
        super().on_headers_complete()
        self._asked = True

    def on_message_complete(self) -> None:
        """Stop waiting: the request is whole."""
        self._request_came()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See that the rest of the answer is taken."""
        super().on_response_complete()
        self._await_reader()

    def pause_writing(self) -> None:
        """Begin to wait for the reader of an answer."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Stop waiting: the reader has taken enough of it."""
        self._answer_taken()
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to another protocol."""
        self._request_came()
        super().handle_websocket_upgrade()

    def _await_request(self) -> None:
        self._request_came()
        self._receiving = self.loop.call_later(self.receive_s, self.transport.abort)

    def _request_came(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _await_reader(self) -> None:
        if self._sending is None and self.transport.get_write_buffer_size():
            self._sending = self.loop.call_later(self.send_s, self._end_stalled)

    def _end_stalled(self) -> None:
        self._sending = None
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _answer_taken(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None


def bound_connections() -> None:
    """Have every HTTP server that starts in this process from now on bound its connections."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{BoundedConnection.__name__}"
