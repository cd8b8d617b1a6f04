"""A viewer's own feed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.recommend.surfaces.base import Surface


@dataclass(frozen=True)
class Home(Surface):
    """What a viewer may want next, by all that they have done."""

    name: ClassVar[str] = "home"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    takes: ClassVar[tuple[str, ...]] = ("likes",)
