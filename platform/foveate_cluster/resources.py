"""Custom resources: what a cluster's nodes are said to have beside CPUs and GPUs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from foveate.errors import ConfigError


def check_custom(resources: Mapping[str, float]) -> None:
    """Refuse amounts of custom resources that Ray cannot give.

    Raises
    ------
    ConfigError
        A name is one of Ray's own, or an amount is neither a fraction of 1 nor a whole number.
    """
    for name, amount in resources.items():
        if name.lower() in ("cpu", "gpu", "memory"):
            raise ConfigError(f"resources: '{name}' is none of the cluster's own making: set cpus and gpus")
        if not (amount > 0 and math.isfinite(amount)) or (amount > 1 and amount % 1):
            raise ConfigError(f"resources: {name} must be a fraction of 1 or a whole number, got {amount:g}")
