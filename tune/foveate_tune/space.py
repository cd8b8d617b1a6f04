"""The search space: which settings are drawn, and which only where another was chosen.

A draw is a flat dict of settings by their dotted path, such as ``{"encoder.mixer": "gated", "encoder.mixer.heads": 2,
"train.learning_rate": 0.003}``: what Ray Tune calls a trial's config. It is drawn from Ray Tune's own domains.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from ray import tune
from ray.tune.search.sample import Domain as TuneDomain

from foveate.core.errors import ConfigError
from foveate.core.registry import Registry
from foveate.core.space import Choice, Domain, IntRange, LogUniform, Space, Uniform

Draw: TypeAlias = dict[str, Any]

MIXER = "encoder.mixer"
SCORER = "encoder.scorer"
LOSS = "train.loss"
VARIANTS = (MIXER, SCORER, LOSS)
"""Paths of the settings of the ``attention`` source that name a variant."""

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
        combinations = self.combinations()
        turn, place = divmod(index, len(combinations))
        order = np.random.default_rng([seed, turn]).permutation(len(combinations))
        names = combinations[order[place]]
        rng = np.random.default_rng([seed, index, 1])
        domains = self.domains(names)
        return {**names, **{path: sample(domain, rng) for path, domain in domains.items()}}

    def draw_after(self, first: Draw | None, number: int, seed: int) -> Draw:
        """Return the ``number``-th of a row of draws that begins with ``first``, if there is one."""
        if first is None:
            return self.draw(number, seed)
        return first if number == 0 else self.draw(number - 1, seed)

    def combinations(self) -> list[dict[str, str]]:
        """Return every combination of variants, each by the path of its kind."""
        return [dict(zip(self.branches, names, strict=True)) for names in itertools.product(*self.branches.values())]

    def domains(self, names: Mapping[str, Any]) -> Space:
        """Return the domains, by path, of the settings that a draw with these variants holds beside their names."""
        own = ((path, self.branches[path][names[path]]) for path in self.branches)
        return {**self.shared, **{f"{path}.{key}": domain for path, space in own for key, domain in space.items()}}

    def endless(self) -> Space:
        """Return the domains of floats, by path: those have no end of values."""
        every = [self.domains(names) for names in self.combinations()]
        return {path: domain for domains in every for path, domain in domains.items() if not listed(domain)}

    def size(self) -> int | None:
        """Return how many draws there are; None where there is no end of them."""
        if self.endless():
            return None
        return sum(math.prod(map(len, map(listed, self.domains(names).values()))) for names in self.combinations())

    def label(self, path: str, names: Mapping[str, Any]) -> str:
        """Return a path with the variant that it is a setting of, such as ``encoder.mixer=gated.heads``."""
        if path in self.shared:
            return path
        branch = next((branch for branch in self.branches if path.startswith(f"{branch}.")), None)
        return path if branch is None else f"{branch}={names[branch]}.{path.removeprefix(f'{branch}.')}"


def listed(domain: Domain) -> Sequence[Any]:
    """Return all values of a domain, nothing for a range of floats."""
    match domain:
        case Choice(values):
            return values
        case IntRange(low, high):
            return range(low, high + 1)
        case _:
            return ()


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


def sample(domain: Domain, rng: np.random.Generator) -> Any:
    """Draw a plain value."""
    return _plain(to_tune(domain).sample(random_state=rng))


def conditional(where: str, settings: Mapping[str, Any], branches: Mapping[str, Branch]) -> SearchSpace:
    """Read domains as a config lays them out, and join them with the variants' own search spaces.

    Parameters
    ----------
    where
        The place of ``settings`` in the config, for messages.
    branches
        The kinds of variants to choose from, by the path of each.

    Raises
    ------
    ConfigError
        A variant is not known, or a domain is written in a way that cannot be read or is empty.
    """
    shared = dict(_domains(where, settings))
    spaces = {
        path: branch.spaces(where, _of_variants(where, path, branch, shared)) for path, branch in branches.items()
    }
    return SearchSpace(shared, spaces)


def read_domain(value: Any, where: str) -> Domain:
    """Read a domain as a search config writes it.

    Raises
    ------
    ConfigError
        It is none, or holds nothing.
    """
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
    """Return settings with a draw put in.

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


def _domains(where: str, settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Domain]]:
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and not set(value) & set(_RANGES):
            yield from _domains(where, value, f"{path}.")
        else:
            yield path, read_domain(value, f"{where}.{path}")


@dataclass(frozen=True)
class Branch:
    """One kind of variants: where a config names those to choose from, all that there are, and the names."""

    where: str
    known: Registry[Any]
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """What a variant is called in messages."""
        return self.known.kind

    def spaces(self, where: str, searched: Space) -> dict[str, Space]:
        """Return each variant's own space; ``searched`` are domains that the config gives to those which have them."""
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"{self.where}: a name stands twice")
        try:
            chosen = {name: self.known[name] for name in self.names or tuple(self.known)}
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error}") from error
        for key in searched:
            if not any(_has(variant, key) for variant in chosen.values()):
                raise ConfigError(f"{where}: no {self.kind} that is searched has a setting '{key}'")
        return {
            name: {**variant.search_space(), **{key: searched[key] for key in searched if _has(variant, key)}}
            for name, variant in chosen.items()
        }


def _of_variants(where: str, path: str, branch: Branch, shared: Space) -> Space:
    """Take the settings of one kind of variants out of ``shared``: only some variants may have them."""
    if path in shared:
        raise ConfigError(f"{where}.{path}: a {branch.kind} is searched by name, in {branch.where}")
    own = [key for key in shared if key.startswith(f"{path}.")]
    return {key.removeprefix(f"{path}."): shared.pop(key) for key in own}


def _has(variant: type[Any], key: str) -> bool:
    return key.partition(".")[0] in {field.name for field in dataclasses.fields(variant) if field.init}


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
