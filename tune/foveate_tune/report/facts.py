"""What a reader must know before believing a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foveate.core.config import to_dict
from foveate.core.registry import Variant
from foveate_tune.config import SweepConfig
from foveate_tune.report.drawing import counted, duration
from foveate_tune.report.record import SweepRecord


def facts(sweep: SweepRecord) -> list[tuple[str, str]]:
    """Return names and texts: data, protocol, search, budget, seeds and versions."""
    config, told = sweep.config, sweep.facts
    data = _part(told, "data")
    slots = f"{config.concurrent} at once at most"
    budget = f"{counted(sweep.steps, 'epoch' if sweep.steps > 1 else 'report')}, {duration(config.max_seconds)} at most"
    found = [
        ("sweep", told.get("sweep")),
        ("data", data.get("title")),
        ("data hash", str(data.get("hash"))[:16]),
        ("protocol", f"{told.get('protocol')}, validation only"),
        ("viewers", f"{int(told.get('validation_viewers', 0)):,}"),
        ("level", _variant(config.level)),
        ("search", _searched(sweep)),
        ("scheduler", _variant(config.scheduler) if sweep.steps > 1 else "none: a trial reports once"),
        ("trials", f"{len(sweep.trials)} of {config.trials}, {slots}"),
        ("budget of a trial", budget),
        ("resources of a trial", _resources(config)),
        ("seed", told.get("seed")),
        ("Foveate", _version(told)),
    ]
    more = {key: value for key, value in told.items() if key not in _KNOWN and isinstance(value, (str, int, float))}
    found += [(key.replace("_", " "), value) for key, value in more.items()]
    return [(name, str(value)) for name, value in found]


_KNOWN = {"sweep", "foveate", "commit", "data", "protocol", "validation_viewers", "seed"}


def simulated(sweep: SweepRecord) -> bool:
    """Return whether the figures come from a simulated world."""
    return bool(_part(sweep.facts, "data").get("simulated"))


def _part(facts_: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = facts_.get(name)
    return part if isinstance(part, Mapping) else {}


def _version(told: Mapping[str, Any]) -> str:
    commit = told.get("commit")
    changed = ", with changes" if str(commit).endswith("+") else ""
    return f"{told.get('foveate')} ({str(commit)[:10]}{changed})" if commit else str(told.get("foveate"))


def _variant(variant: Variant) -> str:
    """Return a variant with its plain settings, such as ``asha (grace_epochs 2, reduction 2.0)``."""
    plain = {key: value for key, value in to_dict(variant).items() if isinstance(value, (str, int, float))}
    settings = ", ".join(f"{key} {value}" for key, value in plain.items() if key != "name")
    return f"{variant.name} ({settings})" if settings else variant.name


def _searched(sweep: SweepRecord) -> str:
    return f"{_variant(sweep.config.search.searcher)}; {counted(len(sweep.columns()), 'setting')} varied"


def _resources(config: SweepConfig) -> str:
    custom = [f"{amount:g} {name}" for name, amount in config.resources.items()]
    told = ", ".join([counted(config.cpus, "CPU"), f"{config.gpus:g} GPU", *custom])
    return told if config.workers == 1 else f"{config.workers} processes of {told} each"
