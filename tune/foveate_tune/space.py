"""The search space: which settings are drawn, and which only where another was chosen.

A draw is a flat dict of settings by their dotted path, such as ``{"encoder.mixer": "gated", "encoder.mixer.heads": 2,
"train.learning_rate": 0.003}``: what Ray Tune calls a trial's config. It is drawn from Ray Tune's own domains.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from ray import tune
from ray.tune.search.sample import Domain as TuneDomain

from foveate.attention.base import MixerConfig, ScorerConfig
from foveate.errors import ConfigError
from foveate.registry import Registry
from foveate.space import Choice, Domain, IntRange, LogUniform, Space, Uniform
from foveate_tune.config import SearchConfig

Draw: TypeAlias = dict[str, Any]

MIXER = "encoder.mixer"
SCORER = "encoder.scorer"

_RANGES: Mapping[str, type[Uniform] | type[LogUniform] | type[IntRange]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "int_range": IntRange,
}


@dataclass(frozen=True)
class SearchSpace:
    """A conditional space.

    Parameters
    ----------
    shared
        Domains of the settings that every draw holds.
    branches
        By the path of a variant, such as ``encoder.mixer``: the names to choose from, each with the domains of its own
        settings.
    """

    shared: Space
    branches: Mapping[str, Mapping[str, Space]]

    def draw(self, index: int, seed: int) -> Draw:
        """Return the ``index``-th draw: a pure function, so that a sweep that goes on draws what it would have drawn.

        Every combination of variants comes up once before any comes up again.
        """
        combinations = list(itertools.product(*self.branches.values()))
        turn, place = divmod(index, len(combinations))
        order = np.random.default_rng([seed, turn]).permutation(len(combinations))
        names = dict(zip(self.branches, combinations[order[place]], strict=True))
        rng = np.random.default_rng([seed, index, 1])
        domains = {**self.shared, **self._own(names)}
        return {**names, **{path: _plain(to_tune(domain).sample(random_state=rng)) for path, domain in domains.items()}}

    def _own(self, names: Mapping[str, str]) -> Space:
        own = ((path, name, self.branches[path][name]) for path, name in names.items())
        return {f"{path}.{key}": domain for path, _, space in own for key, domain in space.items()}


def to_tune(domain: Domain) -> TuneDomain:
    """Return Ray Tune's domain of the same values."""
    match domain:
        case Choice(values):
            found = tune.choice(list(values))
        case Uniform(low, high):
            found = tune.uniform(low, high)
        case LogUniform(low, high):
            found = tune.loguniform(low, high)
        case IntRange(low, high):
            # Ray Tune leaves the upper end out.
            found = tune.randint(low, high + 1)
    assert isinstance(found, TuneDomain)  # noqa: S101 - Ray types these as Any
    return found


def build_space(config: SearchConfig) -> SearchSpace:
    """Read a search config and the variants' own search spaces.

    Raises
    ------
    ConfigError
        A variant is not known, or a domain is written in a way that cannot be read or is empty.
    """
    branches = {
        MIXER: _branch("search.mixers", MixerConfig.variants, config.mixers),
        SCORER: _branch("search.scorers", ScorerConfig.variants, config.scorers),
    }
    return SearchSpace(dict(_domains(config.settings)), branches)


def read_domain(value: Any, path: str) -> Domain:
    """Read a domain as a search config writes it.

    Raises
    ------
    ConfigError
        It is none, or holds nothing.
    """
    where = f"search.settings.{path}"
    if isinstance(value, (list, tuple)):
        if not value:
            raise ConfigError(f"{where}: the list of values is empty")
        return Choice(tuple(value))
    if isinstance(value, Mapping) and len(value) == 1:
        [(kind, bounds)] = value.items()
        if kind in _RANGES:
            return _range(kind, bounds, where)
    known = ", ".join(f"{{{name}: [low, high]}}" for name in _RANGES)
    raise ConfigError(f"{where}: expected a list of values or one of {known}, got {value!r}")


def apply_draw(draw: Draw, base: Mapping[str, Any], branches: Collection[str]) -> dict[str, Any]:
    """Return the settings of the ``attention`` source with a draw put in.

    A variant that ``base`` names too keeps what ``base`` says of it where the draw says nothing.
    """
    settings: dict[str, Any] = dict(base)
    for path, value in sorted(draw.items(), key=lambda pair: pair[0].count(".")):
        *parents, last = path.split(".")
        node = settings
        for part in parents:
            child = node.get(part)
            child = {"name": child} if isinstance(child, str) else dict(child or {})
            node[part] = child
            node = child
        if path in branches:
            old = node.get(last)
            same = isinstance(old, Mapping) and old.get("name") == value
            node[last] = dict(old) if same and isinstance(old, Mapping) else {"name": value}
        else:
            node[last] = value
    return settings


def _domains(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Domain]]:
    for key, value in settings.items():
        group = isinstance(value, Mapping) and value and not set(value) & set(_RANGES)
        if group:
            yield from _domains(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", read_domain(value, f"{prefix}{key}")


def _branch(where: str, variants: Registry[Any], names: tuple[str, ...]) -> dict[str, Space]:
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: a name stands twice")
    try:
        return {name: variants[name].search_space() for name in names or tuple(variants)}
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _range(kind: str, bounds: Any, where: str) -> Domain:
    number = int if kind == "int_range" else (int, float)
    pair = bounds if isinstance(bounds, (list, tuple)) else ()
    values = [float(b) if isinstance(b, str) and kind != "int_range" and _is_number(b) else b for b in pair]
    if len(values) != 2 or not all(isinstance(v, number) and not isinstance(v, bool) for v in values):
        raise ConfigError(f"{where}: {kind} takes two numbers [low, high], got {bounds!r}")
    low, high = values
    if low >= high or (kind == "log_uniform" and low <= 0):
        above = " above 0" if kind == "log_uniform" else ""
        raise ConfigError(f"{where}: {kind} needs low < high{above}, got {bounds!r}")
    make: Any = _RANGES[kind]
    return cast("Domain", make(low, high))


def _is_number(text: str) -> bool:
    # YAML reads 1e-3 as a text.
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
