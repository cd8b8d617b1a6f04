"""Overrides of a config: ``dotted.key=value`` texts, parsed by the type of their field."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml

from foveate.core.config import StrictLoader, nearest, to_dict
from foveate.core.errors import ConfigError
from foveate.core.registry import Registry, Variant


def apply_overrides(data: Mapping[str, Any], overrides: Sequence[str], kind: Any = Any) -> dict[str, Any]:
    """Return ``data`` with each ``dotted.key=value`` put in.

    A value is converted by the type of the field that it goes to: a text field takes it as it stands, so that ``on``,
    ``0`` and ``::`` stay texts. What is not a single word is read as YAML, such as ``[a, b]``. In a mapping of texts
    or numbers, all that is left of the path is one key.

    Parameters
    ----------
    kind
        The dataclass that is built of ``data`` afterwards; without it, each value is read as YAML.

    Raises
    ------
    ConfigError
        An override has no ``=``, or its path leads through a value that is not a group of settings.
    """
    merged: dict[str, Any] = _deep_copy(data)
    # Which settings a variant has depends on its name, so names are put in first.
    for text in sorted(overrides, key=lambda text: not text.partition("=")[0].endswith(".name")):
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConfigError(f"override '{text}' must read key=value, such as train.epochs=5")
        try:
            _put(merged, kind, key, partial(_from_text, text=value))
        except ConfigError as error:
            raise ConfigError(f"override '{text}': {error}") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"override '{text}': the value is not YAML") from error
    return merged


def apply_options(data: Mapping[str, Any], options: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Return ``data`` with values at dotted keys that are of the right type already; None leaves a key as it is."""
    merged: dict[str, Any] = _deep_copy(data)
    for key, value in options.items():
        if value is not None:
            _put(merged, kind, key, partial(_as_it_is, value=value))
    return merged


def _as_it_is(hint: Any, value: Any) -> Any:
    del hint
    return value


def _put(node: dict[str, Any], hint: Any, path: str, read: Callable[[Any], Any]) -> None:
    """Put what ``read`` makes of a field's type at a dotted path below ``node``, which becomes a ``hint``."""
    if _holds_scalars(hint):
        node[path] = read(get_args(hint)[1])
        return
    part, dot, rest = path.partition(".")
    cls = _class_of(hint, node)
    own = _without_none(_hint_of(hint, cls, part))
    if not dot:
        node[part] = read(_hint_of(hint, cls, part))
        return
    if node.get(part) is None:
        node[part] = _usual(cls, part)
    if isinstance(node[part], (list, tuple)):
        node[part] = list(node[part])
        name, _, rest = rest.partition(".")
        position = _position(node[part], name, part)
        node[part][position] = child = _as_group(node[part][position])
        own = get_args(own)[0] if get_origin(own) is tuple else Any
    else:
        node[part] = child = _as_group(node[part])
    if not isinstance(child, dict) or not rest:
        raise ConfigError(f"'{part}' is not a group of settings")
    _put(child, own, rest, read)


def _as_group(value: Any) -> Any:
    """Return a variant that is written as its name alone with room for its settings, anything else as it is."""
    return {"name": value} if isinstance(value, str) else value


def _position(values: Sequence[Any], name: str, part: str) -> int:
    names = [
        value if isinstance(value, str) else value.get("name") if isinstance(value, dict) else None for value in values
    ]
    if not name or None in names:
        raise ConfigError(f"'{part}' is not a group of settings")
    if names.count(name) > 1:
        raise ConfigError(f"'{name}' stands twice in '{part}': change it in a --config file")
    if name not in names:
        raise ConfigError(f"'{part}' has no '{name}'.{nearest(name, dict.fromkeys(map(str, names)))}")
    return names.index(name)


def _usual(cls: type[Any] | None, name: str) -> Any:
    """Return what an absent group of settings starts from: the default's name where the default is a variant."""
    field = next((f for f in dataclasses.fields(cls) if f.name == name), None) if cls else None
    default = field.default_factory() if field and field.default_factory is not dataclasses.MISSING else None
    if isinstance(default, tuple):
        return [to_dict(one) for one in default]
    return {"name": type(default).name} if isinstance(default, Variant) else {}


def _class_of(hint: Any, node: Mapping[str, Any]) -> type[Any] | None:
    """Return the dataclass whose settings ``node`` holds, None where that is not known."""
    hint = _without_none(hint)
    if not isinstance(hint, type):
        return None
    if issubclass(hint, Variant) and "name" not in vars(hint):
        variants: Registry[Any] = hint.variants  # type: ignore[attr-defined]
        name = str(node.get("name"))
        return variants[name] if name in [*variants] else None
    return hint if dataclasses.is_dataclass(hint) else None


def _hint_of(hint: Any, cls: type[Any] | None, name: str) -> Any:
    """Return the type of a setting, Any where that is not known."""
    hint = _without_none(hint)
    if name == "name" and isinstance(hint, type) and issubclass(hint, Variant):
        return str
    if cls is not None:
        return typing.get_type_hints(cls).get(name, Any)
    return get_args(hint)[1] if _is_mapping(hint) else Any


def _holds_scalars(hint: Any) -> bool:
    """Whether a type is a mapping whose values have no settings of their own."""
    if not _is_mapping(hint := _without_none(hint)):
        return False
    value = get_args(hint)[1]
    return value is not Any and not _is_mapping(value) and not dataclasses.is_dataclass(value)


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _options_of(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the one type."""
    return get_args(hint) if get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _without_none(hint: Any) -> Any:
    options = [option for option in _options_of(hint) if option is not type(None)]
    return options[0] if len(options) == 1 else hint


def _from_text(hint: Any, text: str) -> Any:
    """Return what a text on the command line means for a field of type ``hint``; what it cannot be stays a text.

    Raises
    ------
    yaml.YAMLError
        The field is not a single value, and the text is not YAML.
    """
    if hint is Any:
        return yaml.safe_load(text)
    if all(_is_scalar(option) for option in _options_of(hint)):
        return _scalar(hint, text)
    node = yaml.compose(text, Loader=StrictLoader)
    return None if node is None else _from_node(hint, node)


def _from_node(hint: Any, node: yaml.Node) -> Any:
    hint = _without_none(hint) if not isinstance(node, yaml.ScalarNode) else hint
    if isinstance(node, yaml.ScalarNode) and hint is not Any:
        return _scalar(hint, node.value)
    if isinstance(node, yaml.SequenceNode) and get_origin(hint) is tuple:
        item, *rest = get_args(hint)
        hints = [item] * len(node.value) if rest == [...] else [item, *rest]
        return [_from_node(own, one) for own, one in zip(hints, node.value, strict=False)]
    plain = StrictLoader("").construct_object(node, deep=True)
    if isinstance(node, yaml.MappingNode) and hint is not Any:
        cls = _class_of(hint, plain)
        return {key.value: _from_node(_hint_of(hint, cls, key.value), value) for key, value in node.value}
    return plain


_WORDS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}


def _is_scalar(hint: Any) -> bool:
    return hint in (str, int, float, bool, Path, type(None)) or get_origin(hint) is typing.Literal


def _scalar(hint: Any, text: str) -> Any:
    options = _options_of(hint)
    if type(None) in options and (text == "null" or not (text or {str, Path} & {*options})):
        return None
    for option in options:
        if option is bool and text.lower() in (*_WORDS[True], *_WORDS[False]):
            return text.lower() in _WORDS[True]
        if get_origin(option) is typing.Literal and text in map(str, get_args(option)):
            return next(one for one in get_args(option) if str(one) == text)
        if option in (int, float):
            with suppress(ValueError):
                return option(text)
    return text


def _deep_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _deep_copy(v) for k, v in value.items()}
    return [_deep_copy(v) for v in value] if isinstance(value, list) else value
