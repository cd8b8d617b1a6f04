"""Search domains, described without any tuner: what a variant says of its own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        return value in self.values


@dataclass(frozen=True)
class Uniform:
    """A float between ``low`` and ``high``, every value as likely."""

    low: float
    high: float

    def holds(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        return _is_number(value, float) and self.low <= value <= self.high


@dataclass(frozen=True)
class LogUniform:
    """A float between ``low`` and ``high`` (both above 0), every order of magnitude as likely."""

    low: float
    high: float

    def holds(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        return _is_number(value, float) and self.low <= value <= self.high


@dataclass(frozen=True)
class IntRange:
    """An integer from ``low`` to ``high``, both included."""

    low: int
    high: int

    def holds(self, value: Any) -> bool:
        """Whether the value can be drawn."""
        return _is_number(value, int) and self.low <= value <= self.high


Domain: TypeAlias = Choice | Uniform | LogUniform | IntRange
Space: TypeAlias = dict[str, Domain]
"""Domains by the dotted path of the setting they fill, such as ``{"heads": Choice((1, 2, 4))}``."""


def _is_number(value: Any, kind: type[int] | type[float]) -> bool:
    return isinstance(value, (int, kind)) and not isinstance(value, bool)
