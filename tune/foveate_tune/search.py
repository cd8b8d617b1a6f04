"""The search space of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from foveate.attention.base import MixerConfig, ScorerConfig
from foveate.encoder.losses.base import LossConfig
from foveate_tune.searchers.base import SearcherConfig
from foveate_tune.searchers.random import RandomSearcher
from foveate_tune.space import LOSS, MIXER, SCORER, Branch, Draw, SearchSpace, conditional


def _default_settings() -> dict[str, Any]:
    return {"encoder": {"width": [32, 64]}, "train": {"learning_rate": {"log_uniform": [1e-3, 1e-2]}}}


@dataclass(frozen=True)
class SearchConfig:
    """Where to look, and how.

    Parameters
    ----------
    searcher
        How settings are proposed: ``random``, ``grid`` or ``optuna``.
    mixers, scorers
        Names to choose from; empty takes every variant that is known. Each brings the search space of its own
        settings, which are drawn only where it was chosen.
    losses
        Likewise; empty searches none and keeps the recipe's own.
    settings
        Further settings of the ``attention`` source, laid out as its own are, each with its domain: a list of values,
        or one of ``{uniform: [low, high]}``, ``{log_uniform: [low, high]}``, ``{int_range: [low, high]}``. A setting of
        a mixer, scorer or loss takes the place of that variant's own domain, where a searched one has it.
    """

    searcher: SearcherConfig = field(default_factory=RandomSearcher)
    mixers: tuple[str, ...] = ()
    scorers: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=_default_settings)


def build_space(config: SearchConfig) -> SearchSpace:
    """Read a search config and the variants' own search spaces.

    Raises
    ------
    ConfigError
        A variant is not known, or a domain is written in a way that cannot be read or is empty.
    """
    branches = {
        MIXER: Branch("search.mixers", MixerConfig.variants, config.mixers),
        SCORER: Branch("search.scorers", ScorerConfig.variants, config.scorers),
    }
    if config.losses:
        branches[LOSS] = Branch("search.losses", LossConfig.variants, config.losses)
    return conditional("search.settings", config.settings, branches)


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
