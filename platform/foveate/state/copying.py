"""Copying a store into another one: a move from a file to a server, or a backup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from foveate.errors import NotFoundError
from foveate.grouped import in_parts
from foveate.state.base import ImpressionStore, ServedRequest, ViewerStore
from foveate.state.opening import StatePlace, open_impressions, open_viewers, unhurried

_REQUESTS: Final = 100
"""Served requests written in one go."""


@dataclass(frozen=True)
class Copied:
    """What was found, and how many of the events were new where they went."""

    events: int = 0
    new_events: int = 0
    requests: int = 0


def copy_state(
    source: StatePlace,
    target: StatePlace,
    *,
    impressions: bool = True,
    progress: Callable[[Copied], None] | None = None,
) -> Copied:
    """Copy what viewers did and, with ``impressions``, what they were shown and where bundles lay.

    What is there already stays as it is, so a copy that broke off is begun again. An event keeps its version unless
    its viewer has newer ones there, so that replays of what was shown find the same histories.

    Parameters
    ----------
    source, target
        Paths or addresses; an absent target file is made.
    progress
        Called with what has been copied so far.

    Raises
    ------
    StateError
        A store cannot be used.
    ConfigError
        An address cannot be read.
    """
    say = progress or _silent
    source, target = unhurried(source), unhurried(target)
    copied = Copied()
    with open_viewers(source, create=False) as viewers, open_viewers(target) as there:
        copied = _events(viewers, there, copied, say)
    if impressions:
        with open_impressions(source, create=False) as shown, open_impressions(target) as there:
            copied = _requests(shown, there, copied, say)
            for bundle_id, path in shown.bundles().items():
                there.remember_bundle(bundle_id, path)
    return copied


def _events(source: ViewerStore, target: ViewerStore, copied: Copied, say: Callable[[Copied], None]) -> Copied:
    for part in source.kept():
        new = target.keep(part)
        copied = replace(copied, events=copied.events + len(part), new_events=copied.new_events + new)
        say(copied)
    return copied


def _requests(
    source: ImpressionStore, target: ImpressionStore, copied: Copied, say: Callable[[Copied], None]
) -> Copied:
    # Oldest first: the target lists them by when they came.
    for names in in_parts(reversed(source.request_ids(None)), _REQUESTS):
        served = [one for one in (_read(source, name) for name in names) if one is not None]
        target.write(served)
        copied = replace(copied, requests=copied.requests + len(served))
        say(copied)
    return copied


def _read(source: ImpressionStore, request_id: str) -> ServedRequest | None:
    try:
        return source.read(request_id)
    except NotFoundError:
        # A store may drop what is old while we read.
        return None


def _silent(copied: Copied) -> None:
    del copied
