"""The registry of bundles: which one is to be served, which were before it, and how each came to be.

::

    REGISTRY/bundles/ID      every bundle that was promoted, copied whole; folders that never change
             current         a symbolic link to the one that serves: the only word on which that is
             history.jsonl   a line for everything that was done, oldest first
             lock            held while something is done, by one process at a time
             state.sqlite    what viewers do, whichever bundle serves; there once one of them was promoted or served
             served-state.json    the store that the last server used; see :mod:`foveate.releases.viewer_state`

A bundle first lies in ``bundles``, then stands in the history, and only then is the link replaced, in one step of the
file system. Killed anywhere before that, the old bundle serves; the next to hold the lock clears up what was left.
At an address there are no links and no locks: see :mod:`foveate.releases.store`.
"""

from __future__ import annotations

from foveate.releases.history import Entry, Verdict
from foveate.releases.registry import Gate, Releases

__all__ = ["Entry", "Gate", "Releases", "Verdict"]
