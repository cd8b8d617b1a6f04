"""Watch logs from wherever they are, as datasets."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError, DataError
from foveate.core.progress import Progress
from foveate.data.dataset import MANIFEST, Dataset, open_dataset, verify_dataset
from foveate.data.importing.append import append_dataset
from foveate.data.importing.import_dataset import import_dataset, import_tables
from foveate.data.raw.files import plain_files
from foveate.data.readers.base import Reader
from foveate.data.readers.detect import find_reader
from foveate.data.readers.table import TableReader
from foveate.data.world.config import SimulateConfig
from foveate.data.world.simulate import simulate_dataset
from foveate.storage.folder import Folder
from foveate.storage.transfer import is_address, local_copy


def temporary_folder() -> Path:
    """Return an empty folder that goes when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="foveate-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)


Data: TypeAlias = Any
"""A :class:`~foveate.data.dataset.Dataset`, or what :func:`read` makes one of."""


def read(
    source: Data,
    *,
    items: object = None,
    reader: str | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a watch log.

    A dataset folder is opened. A raw log is cleaned and written as a dataset; ``.report`` of what comes back says
    which columns were taken for what, and what was left out.

    Parameters
    ----------
    source
        A dataset folder, or a raw log: a file, a folder, an address such as ``s3://BUCKET/LOGS``, or a table of Polars,
        pandas or Arrow.
    items
        A table of the items beside a table of the log.
    reader
        Name of the reader of files; None finds the one that fits.
    settings
        Of the reader, such as ``{"columns": {"user_id": "customer"}}``; what is left out is guessed.
    out
        Dataset folder to make of a raw log; None takes a temporary one that goes when the process ends.
    progress
        Called with one line of news a piece.

    Raises
    ------
    ConfigError
        There is no such reader or setting, or a store does not answer.
    DataError
        The log cannot be read, is empty, or holds fewer than two viewers or items.
    OutputExistsError
        ``out`` already holds something.

    Examples
    --------
    >>> import foveate, polars
    >>> log = polars.DataFrame({"user": ["ann", "ann", "bob"], "video": ["a", "b", "a"], "seconds_watched": [9, 8, 7]})
    >>> foveate.read(log).manifest.rows["events"]
    3
    """
    if isinstance(source, Dataset):
        return source
    chosen = dict(settings or {})
    if not isinstance(source, (str, Path)):
        if reader not in (None, TableReader.name):
            raise ConfigError(f"reader '{reader}' reads files: leave it out for a table")
        return import_tables(source, _made(out), from_dict(TableReader, chosen), items=items, progress=progress)
    if items is not None:
        raise ConfigError('items goes with a table: for files name theirs in settings, such as {"items": "videos.csv"}')
    if _is_dataset(source):
        if out is not None or reader is not None or chosen:
            raise ConfigError(f"'{source}' is a dataset already: leave out out, reader and settings")
        return open_dataset(local_copy(source, verify_dataset))
    with plain_files(source) as plain:
        kind = find_reader(plain, chosen) if reader is None else Reader.variants[reader]
        return import_dataset(from_dict(kind, chosen), plain, _made(out), progress)


def append(
    dataset: str | Path,
    source: str | Path,
    *,
    reader: str | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Add to a dataset folder what is new in a log; old parts stay as they are, and only what is new is cleaned.

    Parameters
    ----------
    dataset
        The folder; one that is absent is made.
    source
        A raw log: a file, a folder, such as the one that :func:`export_log` writes, or an address.
    reader, settings
        As :func:`read` takes them.
    progress
        Called with one line of news a piece.

    Raises
    ------
    ConfigError
        There is no such reader or setting, or ``dataset`` is an address.
    DataError
        The log cannot be read, or the dataset is damaged.

    Examples
    --------
    >>> import foveate, tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = ["user,video,time,seconds_watched", "ann,a,1700000000,9", "bob,b,1700000001,8"]
    >>> _ = (folder / "log.csv").write_text(chr(10).join(rows))
    >>> foveate.append(folder / "data", folder / "log.csv").manifest.rows["events"]
    2
    >>> _ = (folder / "log.csv").write_text(chr(10).join([*rows, "bob,a,1700000002,7"]))
    >>> foveate.append(folder / "data", folder / "log.csv").manifest.rows["events"]
    3
    """
    if is_address(str(dataset)):
        raise ConfigError(f"'{dataset}' is an address: a dataset grows where it lies on a disk")
    chosen = dict(settings or {})
    with plain_files(source) as plain:
        kind = find_reader(plain, chosen) if reader is None else Reader.variants[reader]
        return append_dataset(from_dict(kind, chosen), plain, Path(dataset), progress)


def simulate(
    *,
    viewers: int = 2000,
    items: int = 2000,
    days: int = 28,
    seed: int = 0,
    out: str | Path | None = None,
) -> Dataset:
    """Simulate a world of viewers and videos; everything that comes of it says that it is simulated.

    Parameters
    ----------
    viewers, items, days
        Size of the world.
    seed
        The same seed makes the same world.
    out
        Dataset folder to make; None takes a temporary one that goes when the process ends.

    Raises
    ------
    ConfigError
        A size is impossible.
    OutputExistsError
        ``out`` already holds something.

    Examples
    --------
    >>> import foveate
    >>> foveate.simulate(viewers=20, items=40, days=3).manifest.simulated
    True
    """
    return simulate_dataset(SimulateConfig(viewers=viewers, items=items, days=days, seed=seed), _made(out))


def dataset_of(data: Data) -> Dataset:
    """Return ``data`` as :func:`read` does, for what takes either.

    Raises
    ------
    ConfigError, DataError
        As :func:`read`.
    """
    dataset = read(data)
    if dataset.path is None:
        raise DataError("this dataset lies in no folder: write it with foveate.read(..., out=FOLDER)")
    return dataset


def _made(out: str | Path | None) -> Path:
    if out is None:
        return temporary_folder() / "data"
    if is_address(out):
        raise ConfigError(f"out '{out}' is an address: name a folder, or use 'foveate data import --out {out}'")
    return Path(out)


def _is_dataset(place: str | Path) -> bool:
    if not is_address(place):
        return (Path(place) / MANIFEST).is_file() and (Path(place) / "impressions").is_dir()
    folder = Folder.at(str(place))
    # Others write a manifest beside their logs too.
    return folder.holds(MANIFEST) and folder.holds("impressions")
