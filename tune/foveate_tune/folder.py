"""The folder of a sweep: written in place, for trials on other nodes write into it while it grows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foveate.errors import ConfigError
from foveate.files import check_free


@contextmanager
def sweep_folder(out: Path) -> Iterator[Path]:
    """Make ``out`` and yield its absolute path; it vanishes where the block does not end well.

    Raises
    ------
    OutputExistsError
        ``out`` already holds something.
    ConfigError
        It cannot be made.
    """
    check_free(out)
    folder = out.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"'{out}' cannot be made: {error.strerror}") from error
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
