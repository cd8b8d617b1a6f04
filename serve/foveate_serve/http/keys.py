"""API keys: who may ask what, in a file that holds no key, and one secret of the server's own.

A key is random and long, so that its SHA-256 cannot be guessed back; a slow hash is for passwords, which people choose.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

from limits import RateLimitItem, parse

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, NotFoundError
from foveate.storage.files import locked, sync_folder

logger = logging.getLogger("ray.serve")

Scope: TypeAlias = Literal["read", "write", "inspect", "admin"]
"""``read``: slates and the catalogue; ``write``: events; ``inspect``: why items are in a slate or not, which tells of a
viewer's history, and slates of another moment; ``admin``: these and all else."""

T = TypeVar("T")

_PREFIX: Final = "fv"
_NO_DIGEST: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Key:
    """One key as it is kept.

    Parameters
    ----------
    key_id
        Names it in lists and when it is revoked; part of the key, and no secret.
    digest
        SHA-256 of the key, hexadecimal.
    rate
        How many requests it may make, such as ``100/minute``; empty for any number.
    created_at, revoked_at
        RFC 3339.
    viewer
        The one viewer whom it may name, as for a key that lies in that viewer's browser; None for any.
    sessions
        Whether it may name no viewer at all, but ask for sessions.
    """

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    created_at: str
    rate: str = ""
    revoked_at: str | None = None
    viewer: str | None = None
    sessions: bool = False

    def __post_init__(self) -> None:
        if not self.scopes:
            raise ConfigError("a key needs at least one scope: read, write, inspect or admin")
        if self.sessions and self.viewer is not None:
            raise ConfigError("a key is bound to one viewer or to sessions, not to both")
        if "admin" in self.scopes and (self.sessions or self.viewer is not None):
            raise ConfigError("a key of the scope admin opens everything: it cannot be bound")
        # A rate that is none is refused here and not when it is counted.
        _ = self.limit

    @property
    def limit(self) -> RateLimitItem | None:
        """The rate as it is counted; None for any number."""
        try:
            return parse(self.rate) if self.rate else None
        except ValueError as error:
            raise ConfigError(f"the rate '{self.rate}' is none: write it like 100/minute or 5/second") from error

    def may(self, scope: Scope) -> bool:
        """Whether it opens what ``scope`` guards."""
        return scope in self.scopes or "admin" in self.scopes


@dataclass(frozen=True)
class Keys:
    """All keys of a file, those that were revoked included.

    Parameters
    ----------
    signing
        What cursors are signed with, hexadecimal: the same in every replica and after a restart.
    """

    keys: tuple[Key, ...] = ()
    signing: str = ""

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read a file of keys.

        Raises
        ------
        ConfigError
            There is none, or it is damaged.
        """
        try:
            return from_dict(cls, json.loads(path.read_bytes()))
        except OSError as error:
            raise ConfigError(f"keys '{path}': {error.strerror} ('foveate keys add' makes one)") from error
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"keys '{path}' cannot be read: {error}") from error

    def write(self, path: Path) -> None:
        """Write the file in one step, for its owner alone; to add to what others write too, see :meth:`change`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # What mkstemp makes is its owner's alone.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                json.dump(to_dict(self), stream, indent=2)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).replace(path)
            sync_folder(path.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    @classmethod
    def change(cls, path: Path, edit: Callable[[Keys], tuple[Keys, T]]) -> T:
        """Change a file of keys, made if it is absent; others who change it wait, and no change of theirs is lost.

        Parameters
        ----------
        edit
            Returns the keys as they are to be, and what the caller wants to know of them.

        Raises
        ------
        ConfigError
            The file is damaged, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_name(f".{path.name}.lock")):
                keys, found = edit(cls.read(path) if path.exists() else cls())
                keys.write(path)
        except OSError as error:
            raise ConfigError(f"keys '{path}' cannot be written: {error.strerror}") from error
        return found

    def secret(self) -> bytes:
        """Return what cursors are signed with; a file of an older Foveate has its digests for it."""
        signing_secret = self.signing or "".join(key.digest for key in self.keys)
        return hashlib.sha256(f"foveate cursors {signing_secret}".encode()).digest()

    def added(
        self,
        name: str,
        scopes: Sequence[Scope],
        rate: str = "",
        *,
        viewer: str | None = None,
        sessions: bool = False,
    ) -> tuple[Keys, Key, str]:
        """Return the keys with a new one, that one, and the secret that is told now and never again."""
        key_id = secrets.token_hex(4)
        secret = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
        key = Key(
            key_id, name, tuple(dict.fromkeys(scopes)), _digest(secret), _now(), rate, viewer=viewer, sessions=sessions
        )
        return replace(self, keys=(*self.keys, key), signing=self.signing or secrets.token_hex(32)), key, secret

    def revoked(self, key_id: str) -> Keys:
        """Return the keys with one of them closed for good.

        Raises
        ------
        NotFoundError
            No key has that id.
        """
        if not any(key.key_id == key_id for key in self.keys):
            raise NotFoundError(f"no key has the id '{key_id}': 'foveate keys list' shows them")
        closed = (
            replace(key, revoked_at=key.revoked_at or _now()) if key.key_id == key_id else key for key in self.keys
        )
        return replace(self, keys=tuple(closed))

    def of(self, secret: str) -> Key | None:
        """Return the key that a client shows, None where it is none or was revoked; takes as long for either."""
        _, _, rest = secret.partition("_")
        key_id = rest.partition("_")[0]
        found = next((key for key in self.keys if key.key_id == key_id), None)
        same = hmac.compare_digest(_digest(secret), found.digest if found else _NO_DIGEST)
        return found if found and same and found.revoked_at is None else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


_CHECK_S: Final = 1.0
"""Seconds between two looks whether the file has changed."""


class KeyFile:
    """The keys of a file as they are now.

    Parameters
    ----------
    path
        The file. A change is seen within a second; one that cannot be read leaves the keys as they were.
    clock
        Gives seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        self._stamp = _stamp(path)
        self._keys = Keys.read(path)

    def current(self) -> Keys:
        """Return the keys."""
        if self._clock() - self._checked_at < _CHECK_S:
            return self._keys
        self._checked_at, stamp = self._clock(), _stamp(self._path)
        if stamp != self._stamp:
            try:
                self._keys, self._stamp = Keys.read(self._path), stamp
            except ConfigError as error:
                logger.error("%s: the keys stay as they were", error)
        return self._keys


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
