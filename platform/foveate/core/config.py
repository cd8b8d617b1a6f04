"""The one config mechanism: frozen dataclasses to plain dicts and back, and YAML files.

What a command line changes in them is put in by :mod:`foveate.core.overrides`.

A variant (see :mod:`foveate.core.registry`) is written as ``{name: gated, heads: 2}`` or, with its defaults, as
``gated``.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar, get_args, get_origin

import yaml

from foveate.core.errors import ConfigError
from foveate.core.registry import Registry, Variant

T = TypeVar("T")

LARGEST_SEED: Final = 2**31 - 1

FORMER_NAME: Final = "former name"
"""Key of a field's metadata: the name that :func:`from_dict` also reads it by."""


def to_dict(value: Any) -> Any:
    """Turn a config into plain dicts, lists and scalars that YAML and JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"name": type(value).name, **fields} if isinstance(value, Variant) else fields
    if isinstance(value, Mapping):
        return {str(k): to_dict(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_dict(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def from_dict(kind: type[T], data: Any, where: str = "") -> T:
    """Build ``kind`` (a frozen dataclass or the base class of a registry) from plain values.

    Parameters
    ----------
    kind
        The dataclass to build.
    data
        A mapping of its fields, or for a variant just its name.
    where
        Dotted path of ``data`` within the whole config, for messages.

    Raises
    ------
    ConfigError
        A key is unknown, missing or of another type; the message names its place and the nearest known key.
    """
    cls, data = _pick_variant(kind, data, where)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{_at(where)}expected settings for {cls.__name__}, got {data!r}")
    hints = _hints(cls)  # type: ignore[arg-type] # every class is hashable
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    data = _with_present_names(data, fields, where)
    for key in data:
        if key not in fields:
            raise ConfigError(f"{_at(where)}unknown setting '{key}'.{nearest(str(key), fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ConfigError(f"{_at(where)}setting '{name}' is missing")
    values = {key: _convert(hints[key], value, _join(where, key)) for key, value in data.items()}
    try:
        return typing.cast("T", cls(**values))
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{_at(where)}{error}") from error


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    ConfigError
        The file is absent, is not YAML, repeats a key, or holds something other than a mapping.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"config '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"config '{path}' is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"config '{path}' must be a mapping of settings, got {type(data).__name__}")
    return data


def check_seed(seed: int) -> None:
    """Refuse a seed that one of the generators does not take.

    Raises
    ------
    ConfigError
        It is negative, or larger than 2**31 - 1.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"a seed must lie between 0 and {LARGEST_SEED}, got {seed}: choose another")


@functools.cache
def _hints(cls: type[object]) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields; to evaluate annotations takes longer than to convert values by them."""
    return typing.get_type_hints(cls)


def _with_present_names(
    data: Mapping[str, Any], fields: Mapping[str, dataclasses.Field[Any]], where: str
) -> Mapping[str, Any]:
    present = {field.metadata[FORMER_NAME]: name for name, field in fields.items() if FORMER_NAME in field.metadata}
    for former, name in present.items():
        if former in data and name in data:
            raise ConfigError(f"{_at(where)}'{former}' is the former name of '{name}': give one of them")
    return {present.get(key, key): value for key, value in data.items()}


def _pick_variant(kind: type[Any], data: Any, where: str) -> tuple[type[Any], Any]:
    if not (issubclass(kind, Variant) and "name" not in vars(kind)):
        return kind, data
    variants: Registry[Any] = kind.variants  # type: ignore[attr-defined]
    if isinstance(data, str):
        data = {"name": data}
    if not isinstance(data, Mapping) or "name" not in data:
        raise ConfigError(f"{_at(where)}expected a {variants.kind}: one of {', '.join(variants)}")
    try:
        cls = variants[data["name"]]
    except ConfigError as error:
        raise ConfigError(f"{_at(where)}{error}") from error
    return cls, {k: v for k, v in data.items() if k != "name"}


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin = get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(hint, value, where)
    if origin is typing.Literal:
        return _expect(value in get_args(hint), value, f"one of {', '.join(map(str, get_args(hint)))}", where)
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)), value, "a list", where)
        item, *rest = get_args(hint)
        hints = [item] * len(value) if rest == [...] else [item, *rest]
        _expect(len(hints) == len(value), value, f"a list of {len(hints)}", where)
        return tuple(_convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(zip(hints, value, strict=True)))
    if origin is not None and issubclass(origin, Mapping):
        _expect(isinstance(value, Mapping), value, "a mapping", where)
        return {k: _convert(get_args(hint)[1], v, _join(where, str(k))) for k, v in value.items()}
    if isinstance(hint, type) and isinstance(value, hint) and dataclasses.is_dataclass(hint):
        return value
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, Variant)):
        return from_dict(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    if value is None and type(None) in get_args(hint):
        return None
    options = [option for option in get_args(hint) if option is not type(None)]
    for option in options[:-1]:
        try:
            return _convert(option, value, where)
        except ConfigError:
            continue
    return _convert(options[-1], value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Path:
        return Path(_expect(isinstance(value, (str, Path)), value, "a path", where))
    if hint is float:
        # YAML reads 1e-3 as a string: a number written so is still a number.
        number = _as_float(value)
        return _expect(number is not None, number if number is not None else value, "a number", where)
    if hint is int:
        return _expect(isinstance(value, int) and not isinstance(value, bool), value, "an integer", where)
    if hint is bool:
        return _expect(isinstance(value, bool), value, "true or false", where)
    return _expect(isinstance(value, str), value, "a text", where)


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _expect(holds: bool, value: Any, what: str, where: str) -> Any:
    if not holds:
        raise ConfigError(f"{_at(where)}expected {what}, got {value!r}")
    return value


def nearest(key: str, known: Mapping[str, Any]) -> str:
    """Return what an error says of the known key that is nearest to an unknown one."""
    near = difflib.get_close_matches(key, known, n=1)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(known)}."


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


class StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a mapping in which a key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping; raises what YAML raises of a fault at its place."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice[0]}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
