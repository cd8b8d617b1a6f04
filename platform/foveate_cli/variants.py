"""``foveate variants``: what can be named in a config, with its settings."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from foveate.core.config import to_dict
from foveate.core.errors import ConfigError
from foveate.core.registry import Registry
from foveate_cli.common import err, json_option, out, write_json

KINDS = {
    "mixers": "foveate.attention.base:MixerConfig",
    "scorers": "foveate.attention.base:ScorerConfig",
    "heads": "foveate.encoder.heads.base:HeadConfig",
    "inputs": "foveate.encoder.inputs.base:InputConfig",
    "losses": "foveate.encoder.losses.base:LossConfig",
    "auxiliaries": "foveate.encoder.auxiliaries.base:AuxiliaryConfig",
    "sources": "foveate.retrieval.base:SourceConfig",
    "indexes": "foveate.retrieval.index.base:IndexConfig",
    "rankers": "foveate.ranking.base:RankerConfig",
    "orders": "foveate.slate.orders.base:ListOrder",
    "policies": "foveate.slate.base:SlatePolicy",
    "slot_policies": "foveate.slate.exploration.base:SlotPolicy",
    "rules": "foveate.slate.rules.base:Rule",
    "surfaces": "foveate.recommend.surfaces.base:Surface",
    "readers": "foveate.data.readers.base:Reader",
    "steps": "foveate.data.cleaning.base:Step",
    "features": "foveate.features.core:Feature",
    "levels": "foveate_tune.levels.base:Level",
    "searchers": "foveate_tune.searchers.base:SearcherConfig",
    "schedulers": "foveate_tune.schedulers.base:SchedulerConfig",
}
"""Where each registry's base class stands; a registry is read only when it is asked for."""

_ONE = {
    "loss": "losses",
    "index": "indexes",
    "policy": "policies",
    "slot_policy": "slot_policies",
    "auxiliary": "auxiliaries",
}
"""Singulars that are more than the plural without its s."""


@click.command(short_help="List what a config can name.")
@click.argument("kind", required=False)
@json_option
def command(*, kind: str | None, json_path: Path | None) -> None:
    """List the variants that a config can name, of one KIND or of all, with settings, defaults and what to sweep.

    With a KIND each setting is explained.
    """
    kinds = [_kind(kind)] if kind else list(KINDS)
    registries = {name: registry_of(name) for name in kinds}
    found = {name: [_describe(cls) for _, cls in registry.items()] for name, registry in registries.items()}
    write_json(json_path, found)
    for name, variants in found.items():
        out.print(f"[bold]{name}[/bold]")
        for variant in variants:
            _show(variant, explain=kind is not None)
    # A folder may hold variants of two kinds.
    for file, fault in {file: fault for one in registries.values() for file, fault in one.broken.items()}.items():
        err.print(f"'{file}' cannot be read: {fault}", markup=False, style="yellow")


def _kind(word: str) -> str:
    plural = word if word in KINDS else _ONE.get(word, f"{word}s")
    if plural not in KINDS:
        raise ConfigError(f"no kind of variant is called '{word}'. Known: {', '.join(KINDS)}.")
    return plural


def registry_of(kind: str) -> Registry[Any]:
    """Return the variants of a kind of :data:`KINDS`."""
    module, _, name = KINDS[kind].partition(":")
    registry: Registry[Any] = getattr(importlib.import_module(module), name).variants
    return registry


def _describe(cls: type[Any]) -> dict[str, Any]:
    space = cls.search_space() if hasattr(cls, "search_space") else {}
    hints = typing.get_type_hints(cls)
    settings = {
        field.name: {"type": _type_name(hints[field.name]), **_default(field)}
        for field in (dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ())
        if field.init
    }
    return {
        "name": cls.name,
        "about": (inspect.getdoc(cls) or "").partition("\n")[0],
        "settings": settings,
        "explained": {name: text for name, text in _parameters(cls).items() if name in settings},
        "search_space": {path: _domain(domain) for path, domain in space.items()},
    }


def _parameters(cls: type[Any]) -> dict[str, str]:
    """Return what the docstrings of a class and of its bases say of each parameter."""
    texts: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(one.__doc__ or "").partition("Parameters\n----------\n")
        names: list[str] = []
        for line in section.split("\n\n")[0].splitlines():
            if line.startswith(" "):
                texts.update({name: f"{texts[name]} {line.strip()}".strip() for name in names})
            else:
                names = line.split(", ")
                texts.update(dict.fromkeys(names, ""))
    return {name: text.replace("``", "") for name, text in texts.items()}


def _default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    if field.default is not dataclasses.MISSING:
        return {"default": to_dict(field.default)}
    if field.default_factory is not dataclasses.MISSING:
        return {"default": to_dict(field.default_factory())}
    return {"required": True}


def _type_name(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return text.replace("typing.", "").replace("collections.abc.", "").replace("NoneType", "None")


def _domain(domain: Any) -> dict[str, Any]:
    return {"domain": type(domain).__name__, **{key: to_dict(value) for key, value in vars(domain).items()}}


def _show(variant: dict[str, Any], *, explain: bool) -> None:
    out.print(f"  [cyan]{variant['name']}[/cyan]  {escape(variant['about'])}")
    rows = [row for name, setting in variant["settings"].items() for row in _flat(name, setting)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for path, default in rows:
        sweep = variant["search_space"].get(path)
        line = f"      {path:<{widths[0]}}  {default:<{widths[1]}}  {_sweep(sweep) if sweep else ''}"
        out.print(escape(line.rstrip()))
        about = variant["explained"].get(path) if explain else None
        if about:
            out.print(Padding(Text(about, style="dim"), (0, 0, 0, 10), expand=False), soft_wrap=False)


def _flat(path: str, setting: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dotted paths that an override would name, with their defaults."""
    if "required" in setting:
        yield path, "required"
        return
    value = setting["default"]
    if not isinstance(value, dict) or not value:
        yield path, json.dumps(value, ensure_ascii=False)
        return
    if "name" in value:
        yield path, value["name"]
    for key, inner in value.items():
        if key != "name":
            yield from _flat(f"{path}.{key}", {"default": inner})


def _sweep(domain: dict[str, Any]) -> str:
    rest = {key: value for key, value in domain.items() if key != "domain"}
    return f"sweep {domain['domain']} {json.dumps(rest.get('values', rest))}"
