"""What a model may learn from: one window of the log, and nothing after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.events import Histories


@dataclass(frozen=True)
class FitContext:
    """What a source or an encoder may learn from.

    Parameters
    ----------
    histories
        Positive interactions before the window's end, and nothing after.
    catalog
        The items.
    now
        End of the window, UTC microseconds; ``NO_TIME`` where the clock is order only.
    seed
        Seed of everything random.
    validation
        One held-out item a viewer (``[U]`` int32, ``-1`` for none) for early stopping, or None. Never from a later
        window.
    progress
        Called with one line of news a step of long work.
    """

    histories: Histories
    catalog: Catalog
    now: int
    seed: int = 0
    validation: NDArray[np.int32] | None = None
    progress: Callable[[str], None] | None = None
