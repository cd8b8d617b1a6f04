"""Foveate's own code as one file that can travel to a cluster: a wheel, which is a zip archive of its packages.

From a checkout the wheel is built; an installed Foveate is packed as it was installed. Dependencies do not travel: the
cluster's nodes have theirs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import foveate
from foveate.core.errors import ConfigError

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


_NAME: Final = "foveate"
_REMEDY: Final = "build one with 'python -m build --wheel' and name it with --wheel FILE"


def packed(folder: Path, wheel: Path | None = None) -> Path:
    """Put the code into ``folder`` as an archive whose top holds the packages.

    Parameters
    ----------
    wheel
        A wheel that was built already; None builds or packs the code that runs.

    Raises
    ------
    ConfigError
        ``wheel`` is none of Foveate, or it cannot be built.
    """
    archive = folder / "foveate.zip"
    if wheel is not None:
        _check(wheel)
        shutil.copyfile(wheel, archive)
        return archive
    own = _distribution()
    checkout = _checkout(own)
    if checkout is None:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as there:
            for name, file in _installed(own):
                there.write(file, name)
    else:
        shutil.copyfile(_built(checkout, folder), archive)
    at = commit()
    if at is not None:
        with zipfile.ZipFile(archive, "a") as there:
            there.writestr(f"{_NAME}/{COMMIT_FILE}", at)
    return archive


def _check(wheel: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as there:
            if "foveate_cli/__main__.py" in there.namelist():
                return
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"--wheel '{wheel}' cannot be read: {error}") from error
    raise ConfigError(f"--wheel '{wheel}' is no wheel of Foveate, or one that is too old to be submitted")


def _distribution() -> Distribution:
    try:
        return distribution(_NAME)
    except PackageNotFoundError as error:
        raise ConfigError(f"Foveate is not installed here, so its code cannot travel: {_REMEDY}") from error


def _checkout(own: Distribution) -> Path | None:
    """Return the checkout that an editable install runs from."""
    origin = json.loads(own.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))


def _built(checkout: Path, folder: Path) -> Path:
    # The build backend itself: a build in an environment of its own would fetch that backend from the network.
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ConfigError(f"the wheel of '{checkout}' cannot be built ({said[-1] if said else 'no word'}): {_REMEDY}")
    return wheels[0]


def _installed(own: Distribution) -> Iterator[tuple[str, Path]]:
    """Yield the files of the packages, with the names that they have in a wheel."""
    for file in own.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            yield file.as_posix(), Path(str(own.locate_file(file)))
