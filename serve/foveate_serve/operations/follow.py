"""A server that serves what a registry promotes, and goes back by itself where replicas refuse it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from foveate.bundle import Bundle
from foveate.core.errors import BundleError, FoveateError, ReleaseError
from foveate.releases.watch import Promoted, Watched
from foveate_serve.http.schemas.health import place_mark
from foveate_serve.names import SHADOW
from foveate_serve.operations.running import POLL_S, RUNNING, Running

_STABLE_CHECKS: Final = 3
"""How many looks in a row must find every replica with the new bundle: each look meets one of the ingresses."""


def first_good(registry: Watched, say: Callable[[str], None]) -> Promoted:
    """Return the bundle to start with: what is promoted or, if it cannot be used, the newest that can.

    Raises
    ------
    ReleaseError
        Nothing was promoted yet, nothing of it can be used, or the registry cannot be read.
    """
    known = registry.good()
    for bundle_id in known:
        try:
            found = registry.fetched(bundle_id)
            Bundle.load(found.path).check_answers()
        except FoveateError as error:
            say(f"bundle {bundle_id} cannot be used: {error}")
            continue
        return found
    if known:
        raise ReleaseError(f"none of the registry's bundles can be used: {', '.join(known)}")
    raise ReleaseError("the registry has promoted nothing yet: 'foveate promote BUNDLE' does")


class Follower:
    """Applies what is promoted, one look at a time.

    Parameters
    ----------
    registry
        What is watched.
    running
        The server.
    serving
        The bundle that it serves already.
    say
        Called with one line of news.
    timeout_s
        Seconds that replicas have to take a bundle.
    """

    def __init__(
        self,
        registry: Watched,
        running: Running,
        serving: Promoted,
        say: Callable[[str], None],
        timeout_s: float = 120.0,
    ) -> None:
        self.serving = serving
        self.refused: str | None = None
        """The id of what was promoted and is not served: it is not tried again before something else is promoted."""
        self._registry = registry
        self._running = running
        self._say = say
        self._timeout_s = timeout_s
        self._last_fault = ""
        current = registry.current()
        if current != serving.bundle_id:
            # It was tried when the server started.
            self.refused = current

    def look(self) -> None:
        """Look at the registry once, and apply what is new in it; whatever goes wrong is said, and nothing raised."""
        try:
            self._follow(self._registry.current())
            self._last_fault = ""
        except FoveateError as error:
            # A store that does not answer is news once, not at every look.
            if str(error) != self._last_fault:
                self._say(f"{error}; bundle {self.serving.bundle_id} serves on")
            self._last_fault = str(error)

    def watch(self, every_s: float, stop: Callable[[float], bool]) -> None:
        """Look again and again; ``stop`` waits for the seconds it is given and says whether to end."""
        while not stop(every_s):
            self.look()

    def _follow(self, promoted: str | None) -> None:
        if promoted is None or promoted == self.serving.bundle_id:
            self.refused = None
            self._mend()
            return
        if promoted == self.refused:
            self._mend()
            return
        try:
            new = self._registry.fetched(promoted)
        except BundleError as error:
            raise ReleaseError(f"the registry names bundle {promoted}, which cannot be used: {error}") from error
        self._say(f"the registry names bundle {promoted}: applying it")
        problem = self._applied(new)
        if problem is None:
            self.serving, self.refused = new, None
            self._say(f"bundle {promoted} serves")
            return
        self.refused = promoted
        self._say(f"bundle {promoted} was refused: {problem}")
        self._return()

    def _mend(self) -> None:
        """Put the serving bundle back where somebody who changed the config at the same time has undone it."""
        if self._running.bundles() == {str(self.serving.place)}:
            return
        self._say(f"another change put back an older bundle: applying bundle {self.serving.bundle_id} again")
        problem = self._applied(self.serving)
        self._say(f"bundle {self.serving.bundle_id} serves" if problem is None else f"it was refused: {problem}")

    def _return(self) -> None:
        """Have the last good bundle back in the config, so that a replica that starts anew takes it too."""
        problem = self._applied(self.serving)
        whole = "serves again" if problem is None else f"cannot be had back: {problem}"
        self._say(f"bundle {self.serving.bundle_id}, the last good one, {whole}")

    def _applied(self, bundle: Promoted) -> str | None:
        """Have every replica take a bundle; return why one did not, None where all did."""
        self._running.swap(str(bundle.place))
        give_up = time.monotonic() + self._timeout_s
        there = 0
        said = ""
        asked = place_mark(str(bundle.place))
        while time.monotonic() < give_up:
            parts = self._parts()
            refused = next((part for part in parts if part["refused"] and part["asked"] == asked), None)
            if refused:
                return f"the {refused['deployment']}: {refused['problem']}"
            whole = bool(parts) and all(part["bundle_id"] == bundle.bundle_id for part in parts)
            there = there + 1 if whole and self._is_stable() else 0
            if there == _STABLE_CHECKS:
                return None
            said = ", ".join(f"{part['deployment']} {part['bundle_id']}" for part in parts)
            time.sleep(POLL_S)
        return f"not every replica had it after {self._timeout_s:g} seconds ({said})"

    def _parts(self) -> Sequence[Mapping[str, Any]]:
        try:
            return self._running.health()[1]
        except FoveateError:
            # Replicas step aside while they load.
            return []

    def _is_stable(self) -> bool:
        states = self._running.states().items()
        return all(state == RUNNING for name, own in states if name != SHADOW for state in own)
