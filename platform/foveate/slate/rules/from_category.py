"""Places kept for one category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.slate.inputs import SlateInput
from foveate.slate.rules.base import Floor


@dataclass(frozen=True, kw_only=True)
class FromCategory(Floor):
    """At least ``least`` items that have ``category`` among their categories."""

    name: ClassVar[str] = "from_category"

    category: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.category:
            raise ConfigError("category must be the name of one")

    @property
    def label(self) -> str:
        return f"at least {self.least} of category '{self.category}'"

    def members(self, ranked: SlateInput) -> NDArray[np.bool_]:
        """``[N]``: which candidates have the category."""
        if self.category not in ranked.category_names:
            return np.zeros(len(ranked), dtype=bool)
        return np.asarray(ranked.categories[:, ranked.category_names.index(self.category)] > 0)
