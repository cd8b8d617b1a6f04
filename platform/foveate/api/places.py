"""Default folders of datasets and bundles, for a caller who names none."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path


def temporary_folder() -> Path:
    """Return an empty folder that goes when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="foveate-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)
