"""A feed for a visitor of whom only this session is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.recommend.surfaces.base import Surface


@dataclass(frozen=True)
class Session(Surface):
    """What an anonymous visitor may want next, by the history that comes with the request alone."""

    name: ClassVar[str] = "session"
    needs: ClassVar[tuple[str, ...]] = ("history",)
    takes: ClassVar[tuple[str, ...]] = ("likes",)
