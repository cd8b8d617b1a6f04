"""The settings that every store of viewers' state has, and reading them from an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.overrides import apply_overrides


@dataclass(frozen=True)
class StoreConfig:
    """How long histories are, and for how long what was shown is kept.

    Parameters
    ----------
    history
        Most events that a viewer's history has; older ones are dropped.
    past
        Events kept beyond that, so that a history of a while ago can be read as it was then.
    impressions_days
        Days for which what was shown is kept.
    events_days
        Days after their arrival for which events are kept; 0 keeps them for ever.

    Raises
    ------
    ConfigError
        A setting is impossible.
    """

    history: int = 2_000
    past: int = 500
    impressions_days: float = 7.0
    events_days: float = 0.0

    def __post_init__(self) -> None:
        if self.history < 1 or self.past < 0:
            raise ConfigError("history must be at least 1, past at least 0")
        if self.events_days < 0:
            raise ConfigError("events_days must be at least 0")

    @property
    def most(self) -> int:
        """Most events that are kept of a viewer."""
        return self.history + self.past


C = TypeVar("C", bound=StoreConfig)


def read_settings(query: str, kind: type[C], shown: str) -> C:
    """Return the settings that the query of an address holds.

    Parameters
    ----------
    query
        Such as ``history=500&past=0``.
    shown
        The address as it may be printed.

    Raises
    ------
    ConfigError
        A setting is unknown, cannot be read, or is impossible.
    """
    settings = [f"{name}={value}" for name, value in parse_qsl(query, keep_blank_values=True)]
    try:
        return from_dict(kind, apply_overrides({}, settings, kind))
    except ConfigError as error:
        raise ConfigError(f"state '{shown}': {error}") from error
