"""Making the newest served slates again, offline, and saying in what each of them comes out otherwise.

Serving is a graph of processes with batches; this is one process and one request at a time. Where both agree, what is
measured offline is what viewers see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from foveate.bundle import Bundle
from foveate.core.errors import BundleError, FoveateError, NotFoundError
from foveate.core.messages import Slate
from foveate.replay.served import TOLERANCE, Difference, replay
from foveate.state.base import ImpressionStore, ServedRequest
from foveate.state.connect import StatePlace, open_impressions, open_viewers


@dataclass(frozen=True)
class Compared:
    """One request: the served slate and in what the remade one differs."""

    served: Slate
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Passed:
    """A request that cannot be made again, and why."""

    request_id: str
    because: str


@dataclass(frozen=True)
class Parity:
    """What came of all of them, newest first."""

    compared: tuple[Compared, ...]
    passed: tuple[Passed, ...]

    @property
    def different(self) -> tuple[Compared, ...]:
        """The requests that come out otherwise."""
        return tuple(one for one in self.compared if one.differences)


def parity(
    state: StatePlace,
    *,
    last: int = 100,
    tolerance: float = TOLERANCE,
    bundle: Path | None = None,
    progress: Callable[[], None] | None = None,
) -> Parity:
    """Make the newest recorded requests again and compare item by item.

    Parameters
    ----------
    state
        Where viewers' events and impressions are kept.
    last
        How many requests, newest first.
    tolerance
        Largest difference of a score or a feature that counts as the same, relative and absolute.
    bundle
        Where the bundle lies that answered, for records whose bundle has moved; by default where it lay.
    progress
        Called after each request.

    Raises
    ------
    StateError
        It cannot be used.
    BundleError
        ``bundle`` cannot be used.
    """
    compared: list[Compared] = []
    passed: list[Passed] = []
    with open_impressions(state, create=False) as impressions, open_viewers(state, create=False) as viewers:
        bundles = _Bundles(impressions, bundle)
        for request_id in impressions.request_ids(last):
            try:
                served = impressions.read(request_id)
                _check_whole(served)
                found = replay(served, bundles.of(served.slate.bundle_id), viewers, tolerance).found
                compared.append(Compared(served.slate, found))
            except (NotFoundError, BundleError) as error:
                passed.append(Passed(request_id, str(error)))
            if progress:
                progress()
    return Parity(tuple(compared), tuple(passed))


class _Bundles:
    """Loads each bundle once; one that cannot be had is a reason to pass its requests."""

    def __init__(self, impressions: ImpressionStore, given: Path | None) -> None:
        self._impressions = impressions
        self._known: dict[str, Bundle | FoveateError] = {}
        if given:
            loaded = Bundle.load(given)
            self._known[loaded.bundle_id] = loaded

    def of(self, bundle_id: str) -> Bundle:
        if bundle_id not in self._known:
            try:
                self._known[bundle_id] = Bundle.load(self._impressions.bundle_path(bundle_id))
            except (NotFoundError, BundleError) as error:
                self._known[bundle_id] = error
        found = self._known[bundle_id]
        if isinstance(found, FoveateError):
            raise found
        return found


def _check_whole(served: ServedRequest) -> None:
    """Pass a slate for which something stood in: it cannot come out again.

    Raises
    ------
    NotFoundError
        As said.
    """
    if served.slate.degraded:
        raise NotFoundError(f"a lesser answer stood in for a stage ({', '.join(served.slate.degraded)})")


def rows(result: Parity) -> Iterator[dict[str, object]]:
    """Yield every difference as a flat row: request, viewer, bundle, what, where, both values."""
    for one in result.different:
        about = {"request_id": one.served.request_id, "user_id": one.served.user_id, "bundle_id": one.served.bundle_id}
        for difference in one.differences:
            yield {
                **about,
                "position": difference.position,
                "what": difference.what,
                "was": difference.was,
                "now": difference.now,
            }
