"""A file of keys that may change while a server runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from foveate.core.errors import ConfigError
from foveate_serve.http.keys import Keys

logger = logging.getLogger("ray.serve")

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
