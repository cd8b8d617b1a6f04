"""The rules that every policy obeys, as a recipe states them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.inputs import SlateInput
from foveate.slate.limits import Limits
from foveate.slate.rules.at_most import AtMost
from foveate.slate.rules.base import Rule


@dataclass(frozen=True)
class Constraints:
    """Hard rules, which no slate breaks even if that leaves it short, and soft ones, which yield before that.

    Parameters
    ----------
    max_per_channel, max_per_category
        Short for the hard rule ``at_most`` over the whole slate; null for none.
    rules
        Any further ones, from what matters most to what matters least: where not all soft ones can be kept, the last
        is given up first, then the last two, and so on.
    safety_penalty
        What an item that is not safe at all loses of its relevance before any policy sees it, as a share of the span
        between the best and the worst candidate's; one that is half safe loses half of that, and one of unknown safety
        nothing.
    """

    max_per_channel: int | None = 2
    max_per_category: int | None = 4
    rules: tuple[Rule, ...] = ()
    safety_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_per_channel", "max_per_category"):
            cap = getattr(self, name)
            if cap is not None and cap < 1:
                raise ConfigError(f"{name} must be at least 1, or null for no cap, got {cap}")
        if not 0.0 <= self.safety_penalty < float("inf"):
            raise ConfigError(f"safety_penalty must be 0 or more, got {self.safety_penalty}")

    @property
    def hard(self) -> tuple[Rule, ...]:
        """The rules that are never relaxed."""
        caps: list[Rule] = []
        if self.max_per_channel is not None:
            caps.append(AtMost(of="channel", most=self.max_per_channel))
        if self.max_per_category is not None:
            caps.append(AtMost(of="category", most=self.max_per_category))
        return (*caps, *(rule for rule in self.rules if not rule.soft))

    @property
    def soft(self) -> tuple[Rule, ...]:
        """The rules that may be relaxed, the last one first."""
        return tuple(rule for rule in self.rules if rule.soft)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every rule in words."""
        described = [rule.label + (" (soft)" if rule.soft else "") for rule in (*self.hard, *self.soft)]
        penalty = [f"a penalty of {self.safety_penalty:g} for what is not safe"] if self.safety_penalty else []
        return (*described, *penalty)


UNCONSTRAINED = Constraints(None, None)


def broken(ranked: SlateInput, chosen: NDArray[np.int64], rules: Sequence[Rule], size: int) -> tuple[str, ...]:
    """Return the labels of those ``rules`` that a slate breaks.

    Parameters
    ----------
    chosen
        Positions in slate order.
    size
        How many places were asked for.
    """
    return tuple(rule.label for rule in rules if Limits.of([rule], ranked, size).broken_by(chosen))
