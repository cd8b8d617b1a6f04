"""Weights of the kinds of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from foveate.core.errors import ConfigError
from foveate.data.schema import EVENT_KINDS


def _default_weights() -> dict[str, float]:
    return {
        "watch": 0.0,
        "click": 0.5,
        "long_view": 1.0,
        "like": 2.0,
        "comment": 2.0,
        "follow": 2.0,
        "share": 3.0,
        "save": 2.0,
        "rate": 1.0,
        "hide": -4.0,
    }


@dataclass(frozen=True)
class Signals:
    """Weights of events in the interaction matrix, and which events count as interest.

    Parameters
    ----------
    weights
        Weight of one event of each kind; a kind left out weighs 0.
    positive
        Kinds that make a positive interaction; empty takes those that the dataset's manifest names.
    """

    weights: Mapping[str, float] = field(default_factory=_default_weights)
    positive: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted((set(self.weights) | set(self.positive)) - set(EVENT_KINDS))
        if unknown:
            raise ConfigError(f"unknown event kind '{unknown[0]}'. Known: {', '.join(EVENT_KINDS)}.")
