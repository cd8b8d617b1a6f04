"""The seam of rules: each comes down to groups of candidates of which a slate may hold only so many.

Shapes: ``G`` groups, ``N`` candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.registry import Registry, Variant
from foveate.slate.inputs import SlateInput


@dataclass(frozen=True)
class Groups:
    """At most ``most`` members of each group in any ``window`` places on end; groups may share members.

    Parameters
    ----------
    members
        ``[G, N]`` bool.
    window
        None for the whole slate.
    """

    members: NDArray[np.bool_]
    most: int
    window: int | None = None


@dataclass(frozen=True, kw_only=True)
class Rule(Variant):
    """Base of the rules' frozen configs; each file of this package that defines one adds a kind of rule.

    Parameters
    ----------
    soft
        Whether the rule is given up before the slate falls short. A hard one never is.
    """

    variants: ClassVar[Registry[Rule]]

    soft: bool = False

    def __post_init__(self) -> None:
        """See that the settings can be kept to."""

    @property
    def label(self) -> str:
        """The rule in words: what an answer names when it was relaxed."""
        raise NotImplementedError

    def drawn(self, seed: int) -> Rule:
        """Return the rule as it stands for one request: one that asks for parts of a place settles them by chance."""
        del seed
        return self

    def groups(self, ranked: SlateInput, slots: int) -> Groups:
        """Say what is limited in a slate of ``slots``: what holds whatever was drawn, if nothing was drawn yet."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Floor(Rule):
    """Base of the rules that keep places: at least ``least`` of a slate are members.

    In other words at most ``slots - least`` are not. Where members run out, a hard floor leaves its places empty.
    """

    least: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least < 1:
            raise ConfigError(f"least must be at least 1, got {self.least}")

    def members(self, ranked: SlateInput) -> NDArray[np.bool_]:
        """``[N]``: which candidates count."""
        raise NotImplementedError

    def groups(self, ranked: SlateInput, slots: int) -> Groups:
        """Limit those that do not count."""
        return Groups(~self.members(ranked)[None, :], max(0, slots - self.least))


Rule.variants = Registry("rule", Rule, "foveate.slate.rules")
