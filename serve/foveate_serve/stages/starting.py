"""What every replica does first: this is where it learns of the process that it is in."""

from __future__ import annotations

import os
import sys
from typing import Final

from foveate_serve.telemetry import Sight

_TURN_S: Final = 0.0005
"""Seconds after which a thread gives the interpreter to one that waits for it.

Stages work in threads beside the one that talks HTTP, and give the interpreter away at each product of matrices. By
Python's own 5 ms they then wait as long for it as ten such products take, and the more requests come, the more often.
"""


def starting(part: str) -> Sight:
    """Set this process up to be a replica of a part of the application; return where it shows what it does."""
    sys.setswitchinterval(_TURN_S)
    return Sight.of_replica(part, os.environ)
