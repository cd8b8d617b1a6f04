"""A Redis server that keeps viewers' state: its address, its settings, and its errors.

The address is ``redis://[USER[:PASSWORD]@]HOST[:PORT][/DB][?SETTING=VALUE&...]``, or ``rediss://`` for TLS; what may
be set is :class:`RedisConfig`. A password is never shown again: not in errors, and not by ``repr``.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from foveate.core.errors import ConfigError, StateError
from foveate.state.base import utc_micros
from foveate.state.config import StoreConfig, read_settings

_REST_SECONDS: Final = 0.5
"""How long a server that does not answer is left alone: requests that come meanwhile are told so at once."""
_PORT: Final = 6379
_PATIENCE_S: Final = 30.0
_DAY_S: Final = 86_400


@dataclass(frozen=True)
class RedisConfig(StoreConfig):
    """How viewers' state is kept on a Redis server.

    Parameters
    ----------
    history, past, impressions_days, events_days
        As :class:`~foveate.state.config.StoreConfig` has them.
    timeout_s
        Seconds that connecting, and each answer, may take; a small part of a request's deadline.
    prefix
        Begins the name of every key, so that several services can share a server.
    password_file
        A file that holds the password; it is read at every connection, so a new password is taken up.
    ca_certs
        With ``rediss://``: a file of certificates to trust, in place of the system's.

    Raises
    ------
    ConfigError
        A setting is impossible.
    """

    timeout_s: float = 0.25
    prefix: str = "foveate"
    password_file: str = ""
    ca_certs: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.impressions_days <= 0 or self.timeout_s <= 0:
            raise ConfigError("impressions_days and timeout_s must be above 0")
        if not re.fullmatch(r"[A-Za-z0-9_.:-]+", self.prefix):
            raise ConfigError("prefix may hold letters, digits and _ . : - alone")

    @property
    def events_seconds(self) -> int:
        """Seconds for which events are kept; 0: for ever."""
        return math.ceil(self.events_days * _DAY_S)

    @property
    def impressions_seconds(self) -> int:
        """Seconds for which what was shown is kept."""
        return max(1, round(self.impressions_days * _DAY_S))


class Server:
    """A Redis server; connections are made when they are needed, and again after the server was away.

    Parameters
    ----------
    address
        As above.

    Raises
    ------
    ConfigError
        The address cannot be read; the message does not repeat a password.
    """

    def __init__(self, address: str) -> None:
        self.address = shown(address)
        self.config = read_settings(urlsplit(address).query, RedisConfig, self.address)
        self._client = _client(address, self.config, self.address)
        self._rest_until = 0.0
        self.known: dict[str, str] = {}
        """What was asked once and does not change."""

    def __repr__(self) -> str:
        return f"Server({self.address!r})"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def key(self, *parts: str) -> bytes:
        """Return the name of a key, prefix first."""
        # What came as JSON may hold half of a pair of surrogates.
        return ":".join([self.config.prefix, *parts]).encode("utf-8", "surrogatepass")

    def script(self, text: str) -> Any:
        """Return what runs a Lua script, which the server does in one step or not at all."""
        return self._client.register_script(text)

    @contextmanager
    def asked(self) -> Iterator[Any]:
        """Yield the client, which answers in bytes, and tell of its errors as Foveate's.

        Raises
        ------
        StateError
            The server is away, refuses us, or has no room.
        """
        if time.monotonic() < self._rest_until:
            raise StateError(f"state '{self.address}' cannot be used: it did not answer a moment ago")
        try:
            yield self._client
        except redis.AuthenticationError as error:
            remedy = "look at the user, and at the password or password_file in the address"
            raise StateError(f"state '{self.address}' refuses us ({_line(error)}): {remedy}") from error
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._rest_until = time.monotonic() + _REST_SECONDS
            remedy = "see that the server runs and can be reached from here"
            raise StateError(f"state '{self.address}' cannot be used ({_line(error)}): {remedy}") from error
        except redis.RedisError as error:
            raise StateError(f"state '{self.address}' cannot be used: {_line(error)}") from error


class RedisStore:
    """A store on a Redis server. Nothing is asked of the server before the first call.

    Parameters
    ----------
    address
        As above.
    clock
        Says when something arrives, UTC microseconds.

    Raises
    ------
    ConfigError
        The address cannot be read.
    """

    def __init__(self, address: str, *, clock: Callable[[], int] = utc_micros) -> None:
        self._server = Server(address)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._server.close()


def shown(address: str) -> str:
    """Return an address without its password."""
    start, sign, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    who, at, host = authority.rpartition("@")
    user = who.partition(":")[0]
    return f"{start}{sign}{user}{at if user else ''}{host}{slash}{path}"


def unhurried(address: str) -> str:
    """Return an address whose answers may take long, for what no viewer waits for."""
    return f"{address}{'&' if urlsplit(address).query else '?'}timeout_s={_PATIENCE_S:g}"


def has_password(address: str) -> bool:
    """Whether an address holds a password."""
    return shown(address) != address


def _client(address: str, config: RedisConfig, shown_address: str) -> redis.Redis:
    parts = urlsplit(address)
    try:
        host, port, database = parts.hostname, parts.port or _PORT, int(parts.path.strip("/") or 0)
    except ValueError:
        host = None
    if not host:
        raise ConfigError(f"state '{shown_address}' is no address of a Redis server, such as redis://HOST:{_PORT}/0")
    tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": config.ca_certs or None} if parts.scheme == "rediss" else {}
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return redis.Redis(
        host=host,
        port=port,
        db=database,
        credential_provider=_Credentials(user, password, config) if password or config.password_file else None,
        socket_timeout=config.timeout_s,
        socket_connect_timeout=config.timeout_s,
        # A connection that was idle may have been closed meanwhile: a second one is tried, at once.
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        client_name="foveate",
        **tls,
    )


class _Credentials(CredentialProvider):
    """Who we are; nothing that prints a connection prints this."""

    def __init__(self, user: str, password: str, config: RedisConfig) -> None:
        self._user = user
        self._password = password
        self._file = config.password_file

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone."""
        password = self._password
        if self._file:
            try:
                password = Path(self._file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise redis.AuthenticationError(f"password_file '{self._file}': {reason}") from None
        return (self._user, password) if self._user else (password,)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
