"""At most so many of one channel, category or tag in any few places on end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Groups, Rule

Kind: TypeAlias = Literal["channel", "category", "tag"]


@dataclass(frozen=True, kw_only=True)
class AtMost(Rule):
    """At most ``most`` items of one channel, main category or tag in any ``window`` places on end.

    Parameters
    ----------
    of
        What the items share.
    most
        How many of them are allowed.
    window
        Places on end; null takes the whole slate.
    """

    name: ClassVar[str] = "at_most"

    of: Kind = "channel"
    most: int = 1
    window: int | None = None

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ConfigError(f"most must be at least 1, got {self.most}")
        if self.window is not None and self.window <= self.most:
            raise ConfigError(f"a window of {self.window} places cannot hold more than {self.most}: widen it")

    @property
    def label(self) -> str:
        return f"at most {self.most} of a {self.of}" + ("" if self.window is None else f" in any {self.window}")

    def groups(self, ranked: SlateInput, slots: int) -> Groups:
        """One group a channel, category or tag."""
        del slots
        return Groups(_MEMBERS[self.of](ranked, self.most), self.most, self.window)


def _by_code(code_N: NDArray[np.int32], most: int) -> NDArray[np.bool_]:
    codes, counts = np.unique(code_N, return_counts=True)
    # A group that is no larger than its limit limits nothing.
    crowded = codes[(counts > most) & (codes >= 0)]
    return np.equal(crowded[:, None], code_N[None, :])


def _by_tag(tags_NT: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    return np.ascontiguousarray(tags_NT[:, tags_NT.sum(axis=0) > most].T)


_MEMBERS: Mapping[Kind, Callable[[SlateInput, int], NDArray[np.bool_]]] = {
    "channel": lambda ranked, most: _by_code(ranked.channel, most),
    "category": lambda ranked, most: _by_code(ranked.category, most),
    "tag": lambda ranked, most: _by_tag(ranked.tags, most),
}
