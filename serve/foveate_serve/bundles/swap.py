"""How a replica turns to another bundle when Serve tells it of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve.exceptions import RayServeException

from foveate_serve.bundles.slots import Holder
from foveate_serve.names import BUNDLE_KEY


async def turn(holder: Holder[Any], user_config: Mapping[str, str]) -> None:
    """Have a holder take the bundle that ``user_config`` names.

    Serve sends a replica nothing until this returns. Where there are others they answer meanwhile, a few replicas at a
    time turning to the new bundle. One that is alone goes on answering by the bundle that it has.
    """
    await holder.turn_to(user_config[BUNDLE_KEY], beside=_is_alone())


def _is_alone() -> bool:
    try:
        return serve.get_replica_context().world_size == 1
    except RayServeException:
        # It is not Serve that calls.
        return False
