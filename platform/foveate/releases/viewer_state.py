"""The viewers' state of a registry: one store, whichever of its bundles serves.

It is the registry's own file unless its server was started with another one. A server says in the registry which one
it uses, so that what comes after it, such as the next promotion, goes on with the same histories.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from foveate.bundle import STATE, default_state, registry_of
from foveate.core.errors import ReleaseError
from foveate.state.backup import backup_state
from foveate.state.connect import StatePlace, file_of, open_impressions
from foveate.state.copying import Copied, copy_state
from foveate.storage.files import sync_folder, write_durably
from foveate.storage.transfer import absolute

SERVED: Final = "served-state.json"
"""In a registry: which store its last server used."""


def state_of(bundle: Path) -> StatePlace:
    """Return where the state of a bundle's viewers is: that of its registry, or the file beside the bundle.

    Raises
    ------
    ReleaseError
        What the registry says of it cannot be read.
    """
    registry = registry_of(bundle)
    return default_state(bundle) if registry is None else state_to_serve(registry)


def state_to_serve(registry: Path) -> StatePlace:
    """Return the store to serve from where nobody names one: the registry's own, or the last one where it has none.

    Raises
    ------
    ReleaseError
        What the registry says of it cannot be read.
    """
    own = registry / STATE
    return own if own.is_file() else last_served(registry) or own


def last_served(registry: Path) -> StatePlace | None:
    """Return the store that the registry's last server used, None where none said so.

    Raises
    ------
    ReleaseError
        What the registry says of it cannot be read.
    """
    path = registry / SERVED
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["state"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"'{path}' cannot be read: {error}; remove it, and name the store with --state") from error


def state_to_promote(registry: Path, bundle: Path) -> StatePlace:
    """Return the store that the registry's server uses, or will use once a bundle is promoted.

    It is the one that the last server used, or the registry's own. The first one of a registry is the file beside the
    bundle where that was served from there: who is in it may still be acting.

    Raises
    ------
    ReleaseError
        What the registry says of it cannot be read, or the registry cannot be written.
    StateError
        The file beside the bundle cannot be used.
    """
    served, own, beside = last_served(registry), registry / STATE, default_state(bundle)
    if served is None and not own.is_file() and beside.is_file() and _was_served(beside):
        remember_served(registry, beside)
        return beside
    return served or own


def remember_served(registry: Path, state: StatePlace) -> None:
    """Say in a registry which store its server uses.

    Raises
    ------
    ReleaseError
        The registry cannot be written.
    """
    path = registry / SERVED
    staged = path.with_name(f".staged-{path.name}-{os.getpid()}")
    try:
        write_durably(staged, json.dumps({"state": absolute(state)}).encode())
        staged.replace(path)
        sync_folder(registry)
    except OSError as error:
        raise ReleaseError(f"'{path}' cannot be written: {error.strerror}") from error


def _was_served(state: Path) -> bool:
    with open_impressions(state, create=False) as shown:
        return bool(shown.bundles())


def add_histories(bundle: Path, live: StatePlace) -> Copied | None:
    """Add what lies in the file beside a bundle to the live store, each event once; None where there is nothing to add.

    Raises
    ------
    StateError
        A store cannot be used.
    """
    beside = default_state(bundle)
    if not beside.is_file() or absolute(live) == absolute(beside):
        return None
    target = file_of(live)
    if target is not None and not target.exists():
        return backup_state(beside, target)
    return copy_state(beside, live)
