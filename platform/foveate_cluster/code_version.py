"""The commit that this code stands at."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import foveate

COMMIT_FILE: Final = "commit.txt"
"""Says in the package where code stands that left its checkout."""
_GIT_SECONDS: Final = 5.0


def commit() -> str | None:
    """Return the commit that this code stands at, ``+`` behind it where files were changed; None outside a checkout."""
    folder = Path(foveate.__file__).parent
    if (folder / COMMIT_FILE).is_file():
        return (folder / COMMIT_FILE).read_text(encoding="utf-8")
    # An installed package may lie in somebody's checkout without belonging to it.
    if _git(folder, "ls-files", "__init__.py") != "__init__.py":
        return None
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head and f"{head}{'+' if changed else ''}"


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *words],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
