"""Set-up of every deployment's replicas: their process, and the bundle that Serve's user config names."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from ray import serve
from ray.serve.exceptions import RayServeException

from foveate_serve.bundles.slots import Slots
from foveate_serve.names import BUNDLE_KEY
from foveate_serve.telemetry import Telemetry

_SWITCH_S: Final = 0.0005
"""Seconds after which a thread gives the interpreter to one that waits for it.

Stages work in threads beside the one that talks HTTP, and give the interpreter away at each product of matrices. By
Python's own 5 ms they then wait as long for it as ten such products take, and the more requests come, the more often.
"""


def start_replica(part: str) -> Telemetry:
    """Set this process up to be a replica of a part of the application; return where it shows what it does."""
    sys.setswitchinterval(_SWITCH_S)
    return Telemetry.of_replica(part, os.environ)


async def load_bundle(slots: Slots[Any], user_config: Mapping[str, str]) -> None:
    """Have a holder take the bundle that ``user_config`` names.

    Serve sends a replica nothing until this returns. Where there are others they answer meanwhile, a few replicas at a
    time turning to the new bundle. One that is alone goes on answering by the bundle that it has.
    """
    await slots.swap(user_config[BUNDLE_KEY], beside=_is_alone())


def _is_alone() -> bool:
    try:
        return serve.get_replica_context().world_size == 1
    except RayServeException:
        # It is not Serve that calls.
        return False
