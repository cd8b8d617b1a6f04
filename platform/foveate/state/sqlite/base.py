"""The base of both stores of one SQLite file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

from foveate.state.base import utc_micros
from foveate.state.sqlite.config import FileConfig
from foveate.state.sqlite.database import Database
from foveate.state.sqlite.group_commit import GroupCommit
from foveate.state.sqlite.retention import Retention


class SqliteStore(ABC):
    """A store in one file that several processes may share; its writes go in groups.

    Parameters
    ----------
    path
        The file, made if it is absent and ``create`` is set.
    lazy
        Whether a file that cannot be opened now may be opened by a later call.
    config
        How long histories are, for how long what is stored is kept, and how safe it is once it is acknowledged.
    clock
        Says when something arrives, UTC microseconds.

    Raises
    ------
    StateError
        The file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        lazy: bool = False,
        config: FileConfig | None = None,
        clock: Callable[[], int] = utc_micros,
    ) -> None:
        self._database = Database(path, create=create, lazy=lazy, config=self._adapted(config or FileConfig()))
        self._clock = clock
        self._writer = GroupCommit(self._database, self._retention().run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._writer.close()
        self._database.close()

    def _adapted(self, config: FileConfig) -> FileConfig:
        """Return the settings as this store keeps the file by them."""
        return config

    @abstractmethod
    def _retention(self) -> Retention:
        """Return what drops old rows of this store."""
