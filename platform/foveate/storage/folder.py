"""A folder on this machine, or at any address that Arrow or fsspec knows, such as ``s3://bucket/folder``."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from pyarrow import ArrowException
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

from foveate.core.errors import ConfigError, OutputExistsError, StorageError

Place: TypeAlias = str | Path
"""A path of this machine, or an address."""

T = TypeVar("T")

_ANSWER_SECONDS: Final = 10.0
"""How long a store may take to answer the first time."""
_PIECE: Final = 1 << 22
_REMEDY: Final = "look at the address, its options and the credentials"


@dataclass(frozen=True)
class Folder:
    """A folder, wherever it lies.

    Parameters
    ----------
    filesystem, path
        Where, in Arrow's terms.
    address
        Where, as the user says it.
    """

    filesystem: FileSystem
    path: str
    address: str

    @classmethod
    def at(cls, place: Place) -> Folder:
        """Return the folder of a path or an address; it need not be there, and nothing is asked of a store yet.

        Raises
        ------
        ConfigError
            It names a store alone, or nobody knows addresses of that kind.
        """
        text = str(place)
        if "://" not in text:
            return cls(LocalFileSystem(), str(Path(text).resolve()), text)
        if not urlsplit(text).path.strip("/"):
            raise ConfigError(f"'{text}' names no folder: add one, as in s3://bucket/folder")
        filesystem, path = _opened(text)
        return cls(filesystem, path.rstrip("/"), text)

    @property
    def local(self) -> Path | None:
        """The path on this machine, None where it lies elsewhere."""
        return Path(self.path) if isinstance(self.filesystem, LocalFileSystem) else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __truediv__(self, name: str) -> Folder:
        # A path on this machine may hold a question mark; behind one, an address has its options.
        where, mark, options = self.address.partition("?") if "://" in self.address else (self.address, "", "")
        return Folder(self.filesystem, f"{self.path}/{name}", f"{where.rstrip('/')}/{name}{mark}{options}")

    def __str__(self) -> str:
        return self.address

    def check_free(self) -> None:
        """See that the store answers and that nothing lies here yet.

        Raises
        ------
        OutputExistsError
            Something does.
        ConfigError
            The store does not answer, or does not let us in.
        """
        found = self.answer(lambda: self.filesystem.get_file_info(self.path).type)
        if found is FileType.File or (found is FileType.Directory and self._entries()):
            raise OutputExistsError(f"'{self}' already holds something; name another output or remove it first")

    def check_there(self, remedy: str) -> None:
        """See that the store answers and that there is such a folder; ``remedy`` says what to do where there is none.

        Raises
        ------
        ConfigError
            As said.
        """
        if self.answer(lambda: self.filesystem.get_file_info(self.path).type) is not FileType.Directory:
            raise ConfigError(f"'{self}': there is no such folder; {remedy}")

    def make(self) -> None:
        """Make the folder, and those above it.

        Raises
        ------
        ConfigError
            It cannot be made.
        """
        self.answer(lambda: self.filesystem.create_dir(self.path))

    def remove(self) -> None:
        """Remove the folder and all in it, if it is there."""
        if self.filesystem.get_file_info(self.path).type is FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def holds(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        found: FileType = self.filesystem.get_file_info(f"{self.path}/{name}").type
        return found is not FileType.NotFound

    def folders(self, start: str = "") -> list[str]:
        """Return the names of the folders in it that start so, in order."""
        found = (info.base_name for info in self._entries() if info.type is FileType.Directory)
        return sorted(name for name in found if name.startswith(start))

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of the files right in it."""
        return {info.base_name: int(info.size) for info in self._entries() if info.type is FileType.File}

    def clear(self) -> None:
        """Remove the files right in it."""
        for name in self.sizes():
            self.filesystem.delete_file(f"{self.path}/{name}")

    def read(self, name: str) -> str:
        """Return the text of a file."""
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
            content: bytes = stream.read()
        return content.decode()

    def write(self, name: str, text: str) -> None:
        """Write a file: there is the whole of it or what was there before, whatever happens.

        Raises
        ------
        StorageError
            The disk is full, or the store does not answer any more.
        """
        with naming_folder(self):
            if self.local is None:
                # A store takes an object whole or not at all.
                with self.filesystem.open_output_stream(f"{self.path}/{name}") as stream:
                    stream.write(text.encode())
                return
            self.local.mkdir(parents=True, exist_ok=True)
            staged = self.local / f".{name}.part"
            staged.write_text(text, encoding="utf-8")
            staged.replace(self.local / name)

    def append(self, name: str, line: str) -> None:
        """Add a line to a file; one that breaks off in the midst leaves no newline at its end.

        Raises
        ------
        StorageError
            The disk is full, or the store does not answer any more.
        """
        if self.local is None:
            with naming_folder(self):
                before = self.read(name) if self.holds(name) else ""
            self.write(name, f"{before}{line}\n")
            return
        with naming_folder(self):
            self.local.mkdir(parents=True, exist_ok=True)
            with (self.local / name).open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")

    def files(self) -> list[str]:
        """Return the paths within it of all files, those of its folders too, in order."""
        found = self.filesystem.get_file_info(FileSelector(self.path, recursive=True, allow_not_found=True))
        start = len(self.path.rstrip("/")) + 1
        return sorted(info.path[start:] for info in found if info.type is FileType.File)

    def bring(self, name: str, to: Path) -> None:
        """Copy a file here, piece by piece."""
        to.parent.mkdir(parents=True, exist_ok=True)
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream, to.open("wb") as there:
            shutil.copyfileobj(stream, there, _PIECE)

    def send(self, path: Path, name: str) -> None:
        """Copy a file there, piece by piece; there is the whole of it or nothing.

        Raises
        ------
        StorageError
            The disk is full, or the store does not answer any more.
        """
        target = f"{self.path}/{name}"
        with naming_folder(self):
            self.filesystem.create_dir(target.rpartition("/")[0])
            with path.open("rb") as scratch_folder, self.filesystem.open_output_stream(target) as stream:
                shutil.copyfileobj(scratch_folder, stream, _PIECE)

    def _entries(self) -> list[Any]:
        return list(self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True)))

    def answer(self, ask: Callable[[], T]) -> T:
        """Ask the store for something small; it has ten seconds.

        Raises
        ------
        ConfigError
            It does not answer, or does not let us in.
        """
        try:
            return _soon(ask)
        except (OSError, ArrowException) as error:
            if self.local is not None:
                raise ConfigError(f"'{self}' cannot be made: {reason(error)}") from error
            raise ConfigError(f"'{self}': the store cannot be used ({reason(error)}): {_REMEDY}") from error


class naming_folder:  # noqa: N801 - reads as a function
    """Says where it was that storage failed."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, ArrowException)):
            raise StorageError(f"'{self._folder}' cannot be written: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Return why a disk or a store failed, in one line."""
    number = getattr(error, "errno", None)
    if number and isinstance(error, OSError):
        return os.strerror(number)
    said = " ".join(str(error).split())
    # Arrow tells of each call that led there; the last words are the cause.
    return said.rpartition("AWS Error ")[2].partition(" (Request ID")[0] or type(error).__name__


def _opened(address: str) -> tuple[FileSystem, str]:
    try:
        # Where a region is not told, Arrow asks for it right away.
        filesystem, path = _soon(lambda: FileSystem.from_uri(address))
    except OSError as error:
        raise ConfigError(f"'{address}': the store cannot be used ({reason(error)}): {_REMEDY}") from error
    except (ArrowException, ValueError) as error:
        if "Unrecognized filesystem type" not in str(error):
            raise ConfigError(f"'{address}' is no address of a store: {reason(error)}") from error
        filesystem, path = _opened_by_fsspec(address)
    return filesystem, str(path)


def _opened_by_fsspec(address: str) -> tuple[FileSystem, str]:
    from fsspec.core import url_to_fs  # noqa: PLC0415 - for the rarer stores alone

    try:
        # What others put there is to be seen at once.
        filesystem, path = url_to_fs(address, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"'{address}' is no address of a store: {reason(error)}") from error
    return PyFileSystem(FSSpecHandler(filesystem)), str(path)


def _soon(ask: Callable[[], T]) -> T:
    """Ask a store; it may take minutes until it gives up by itself, so it is left behind after a while."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)

    asking = threading.Thread(target=run, daemon=True)
    asking.start()
    asking.join(_ANSWER_SECONDS)
    if errors:
        raise errors[0]
    if asking.is_alive():
        raise TimeoutError(f"no answer within {_ANSWER_SECONDS:g} s")
    return answers[0]
