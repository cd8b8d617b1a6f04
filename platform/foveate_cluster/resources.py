"""Resources of a cluster that a piece of work takes: CPUs, GPUs, and the cluster's own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from foveate.core.errors import ConfigError


@dataclass(frozen=True)
class Resources:
    """What one piece of work takes; ``gpus`` may be a fraction, ``custom`` goes by a cluster's own names."""

    cpus: int = 1
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)

    def in_words(self, times: int = 1) -> str:
        """Return what so many of them take, in words."""
        gpus = [f"{self.gpus * times:g} GPUs"] if self.gpus else []
        return listed(f"{self.cpus * times} CPUs", *gpus, *(f"{n * times:g} {name}" for name, n in self.custom.items()))


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


def listed(*parts: str) -> str:
    """Return parts as one phrase."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
