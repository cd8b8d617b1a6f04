"""Finding the reader that fits a folder or a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from foveate.core.errors import ReaderError
from foveate.data.readers.base import Reader
from foveate.data.readers.table import TableReader


def find_reader(root: Path, settings: Collection[str] = ()) -> type[Reader]:
    """Return the reader that knows the layout of ``root``.

    Parameters
    ----------
    root
        A file or folder, unpacked.
    settings
        Names of settings that the reader must have.

    Raises
    ------
    ReaderError
        Several know it, or there is no table at all.
    """
    fitting = [cls for _, cls in Reader.variants.items() if cls is not TableReader and cls.fits(root)]
    knowing = [cls for cls in fitting if set(settings) <= {field.name for field in dataclasses.fields(cls)}]
    if len(knowing) > 1:
        names = ", ".join(cls.name for cls in knowing)
        raise ReaderError(f"'{root.name}' fits several readers ({names}); name one of them before the path")
    if knowing:
        return knowing[0]
    if not TableReader.fits(root):
        raise ReaderError(f"'{root.name}' holds no table; name the folder or file that holds the log")
    return TableReader
