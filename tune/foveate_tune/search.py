"""Where a search begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveate_tune.searchers.base import NUMBER
from foveate_tune.space import Draw, SearchSpace

__all__ = ["NUMBER", "draw_of"]


def draw_of(settings: Mapping[str, Any], space: SearchSpace) -> Draw | None:
    """Return the draw that gives the ``settings`` of an ``attention`` source; None if the space lacks its variants."""
    draw: Draw = {}
    for path, names in space.branches.items():
        variant = _at(settings, path)
        name = variant["name"] if isinstance(variant, Mapping) else variant
        if name not in names:
            return None
        draw[path] = name
        own = variant if isinstance(variant, Mapping) else {}
        draw.update({f"{path}.{key}": own[key] for key in names[name] if key in own})
    return draw | {path: _at(settings, path) for path in space.shared}


def _at(settings: Mapping[str, Any], path: str) -> Any:
    node: Any = settings
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
