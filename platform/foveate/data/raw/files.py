"""Find raw files: copy those at an address, unpack compressed ones and archives, leave out what is no table."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

import pyarrow as pa
from pyarrow.fs import FileType

from foveate.core.errors import ReaderError
from foveate.data.importing.report import SkippedFile
from foveate.storage.folder import Folder, Place
from foveate.storage.transfer import is_address

TEXT_SUFFIXES: Final = (".csv", ".tsv", ".tab", ".psv", ".dat", ".txt", ".data", ".inter", ".item", ".user")
LINES_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES: Final = (".parquet", ".pq")
ARROW_SUFFIXES: Final = (".arrow", ".feather", ".ipc")
SUFFIXES: Final = (*TEXT_SUFFIXES, *LINES_SUFFIXES, *PARQUET_SUFFIXES, *ARROW_SUFFIXES)

_PACKED: Final = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")
_PART: Final = re.compile(r"part-|\d{6}_\d")
"""Names that Spark and Hive give to the parts of a table."""
_ABOUT: Final = re.compile(r"(?i)(?:.*readme|licen[cs]e|notice|changelog|changes|citation|requirements)\b.*\.txt$")
_HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"
_BOM: Final = b"\xef\xbb\xbf"
_CHUNK: Final = 1 << 22


@contextmanager
def plain_files(place: Place, scratch: Path | None = None) -> Iterator[Path]:
    """Yield a path of this machine where the files of ``place`` lie unpacked.

    A file or folder without anything packed is yielded as it is. Otherwise a temporary folder holds links to what is
    plain, and copies of the rest: of what lies at an address such as ``s3://``, of files that gzip, zstd, bzip2 or xz
    packed, and of the members of a zip or tar archive.

    Parameters
    ----------
    place
        A file or folder: a path or an address.
    scratch
        Where the temporary folder is made; None takes the system's place.

    Raises
    ------
    ReaderError
        There is no such file or folder, or it cannot be unpacked.
    ConfigError
        The store of an address does not answer or does not let us in.
    """
    with TemporaryDirectory(dir=scratch, prefix=".raw.", ignore_cleanup_errors=True) as folder:
        path = _fetched(str(place), Path(folder) / "fetched") if is_address(place) else need(Path(place))
        yield _unpacked(path, Path(folder) / "plain")


def need(path: Path) -> Path:
    """Return ``path`` if it is there.

    Raises
    ------
    ReaderError
        It is not.
    """
    if not path.exists():
        raise ReaderError(f"'{path}' does not exist; name the folder or file that holds the log")
    return path


def table_files(root: Path) -> tuple[list[Path], list[SkippedFile]]:
    """Return the tables of a folder and those of its folders, in the order of their names, and what is left out.

    Names that start with a dot or an underscore are markers of tools (``_SUCCESS``, ``._part-0``), an empty file holds
    nothing, and part-2 comes before part-10. A file that is named by itself is taken whatever it is called.
    """
    if root.is_file():
        return [root], []
    found: list[Path] = []
    # What was made of a log may lie in the log's folder.
    made = {path.parent for path in root.rglob("manifest.json") if (path.parent / "impressions").is_dir()} - {root}
    skipped = [SkippedFile(str(folder.relative_to(root)), "a dataset of Foveate") for folder in sorted(made)]
    for file in sorted((path for path in root.rglob("*") if path.is_file()), key=lambda path: _natural(path, root)):
        relative = file.relative_to(root)
        if made & {*file.parents}:
            continue
        if any(part[0] in "._" for part in relative.parts):
            skipped.append(SkippedFile(str(relative), "its name marks it as no data"))
        elif not _PART.match(file.name) and (file.suffix.lower() not in SUFFIXES or _ABOUT.match(file.name)):
            skipped.append(SkippedFile(str(relative), "no table by its name"))
        elif not file.stat().st_size:
            skipped.append(SkippedFile(str(relative), "empty"))
        else:
            found.append(file)
    return found, skipped


def hive_keys(file: Path, root: Path) -> dict[str, str | None]:
    """Return the columns that folder names such as ``date=2024-05-01`` give to a file below ``root``; null for none."""
    from urllib.parse import unquote  # noqa: PLC0415 - rarely needed

    pairs = (part.partition("=") for part in file.relative_to(root).parent.parts if file != root and "=" in part)
    return {name: None if value == _HIVE_NULL else unquote(value) for name, _, value in pairs}


def _natural(path: Path, root: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path.relative_to(root)))
    return [(1, int(part), part) if part.isdigit() else (0, 0, part) for part in parts]


def _fetched(address: str, to: Path) -> Path:
    source = Folder.at(address)
    kind = source.answer(lambda: source.filesystem.get_file_info(source.path).type)
    if kind is FileType.File:
        above = Folder(source.filesystem, source.path.rpartition("/")[0], address.rpartition("/")[0])
        above.bring(source.name, to / source.name)
        return to / source.name
    names = source.answer(source.files) if kind is FileType.Directory else []
    if not names:
        raise ReaderError(f"'{address}' does not exist or holds nothing; name the folder or file that holds the log")
    for name in names:
        source.bring(name, to / source.name / name)
    return to / source.name


def _unpacked(path: Path, to: Path) -> Path:
    if path.is_file():
        unpack = _unpacker(path)
        return unpack(path, to) if unpack else path
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    unpackers = {file: _unpacker(file) for file in files}
    if not any(unpackers.values()):
        return path
    mirror = to / path.name
    for file, unpack in unpackers.items():
        target = mirror / file.relative_to(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if unpack:
            unpack(file, target.parent)
        else:
            target.symlink_to(file.resolve())
    return mirror


def _unpacker(path: Path) -> Callable[[Path, Path], Path] | None:
    """Return what unpacks a file, by its first bytes, for names lie; None for a plain one."""
    with path.open("rb") as stream:
        start = stream.read(6)
    if path.suffix.lower() in (".xlsx", ".ods", ".xls"):
        raise ReaderError(f"'{path}' is a spreadsheet; export it as CSV")
    if start.startswith(b"PK\x03\x04"):
        return _unzip
    if _is_tar(path):
        return _untar
    if start.startswith(_BOM) and path.suffix.lower() in LINES_SUFFIXES:
        return lambda file, to: _copy(file, to, lambda stream: stream)
    for magic, unpack in _STREAMS.items():
        if start.startswith(magic):
            return lambda file, to: _copy(file, to, unpack)
    return None


_STREAMS: Final[dict[bytes, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream),
    b"\x28\xb5\x2f\xfd": lambda stream: pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""What reads a packed file, by its first bytes."""


def _copy(path: Path, to: Path, unpack: Callable[[IO[bytes]], Any]) -> Path:
    target = to / (path.stem if path.suffix.lower() in _PACKED else path.name)
    to.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("rb") as stream, target.open("wb") as plain:
            unpacking = unpack(stream)
            chunk = unpacking.read(_CHUNK)
            # The scanner of JSON lines takes no byte order mark.
            plain.write(chunk.removeprefix(_BOM) if target.suffix.lower() in LINES_SUFFIXES else chunk)
            while chunk := unpacking.read(_CHUNK):
                plain.write(chunk)
    except (EOFError, OSError, lzma.LZMAError, pa.ArrowException) as error:
        raise ReaderError(f"'{path}' cannot be unpacked: {error}; copy or export it again") from error
    return _untar(target, to) if _is_tar(target) else target


def _unzip(path: Path, to: Path) -> Path:
    folder = to / path.stem
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir() and not _is_marker(info.filename)]
            for info in members:
                # ZipFile.extract keeps every member below the folder.
                archive.extract(info, folder)
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise ReaderError(f"'{path}' cannot be unpacked: {error}; copy or export it again") from error
    return _unpacked_members(path, folder, [info.filename for info in members], to)


def _untar(path: Path, to: Path) -> Path:
    folder = to / f"{path.stem}.members"
    try:
        with tarfile.open(path) as archive:
            members = [info for info in archive.getmembers() if info.isfile() and not _is_marker(info.name)]
            # The filter keeps every member below the folder.
            archive.extractall(folder, members, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise ReaderError(f"'{path}' cannot be unpacked: {error}; copy or export it again") from error
    return _unpacked_members(path, folder, [info.name for info in members], to)


def _unpacked_members(path: Path, folder: Path, names: list[str], to: Path) -> Path:
    if not names:
        raise ReaderError(f"'{path}' is an empty archive; name the folder or file that holds the log")
    if len(names) == 1:
        return _unpacked(folder / names[0], to / "member")
    inner = list(folder.iterdir())
    return _unpacked(inner[0] if len(inner) == 1 else folder, to / "members")


def _is_tar(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(262)[257:] == b"ustar"


def _is_marker(name: str) -> bool:
    return any(part[0] in "._" for part in Path(name).parts)
