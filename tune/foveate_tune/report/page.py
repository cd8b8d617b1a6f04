"""The page that holds the pictures: one file, whose only scripts and styles are its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from foveate.core.config import to_dict
from foveate.core.registry import Variant
from foveate.storage.folder import Folder, Place
from foveate_tune.config import SweepConfig
from foveate_tune.report.base import Column, Panel, Picture, Table
from foveate_tune.report.drawing import counted, duration
from foveate_tune.report.record import SweepRecord, read_sweep

REPORT = "report.html"


def write_report(sweep: Place, out: Path | None = None) -> str:
    """Write a sweep's report and return where it is.

    Parameters
    ----------
    sweep
        A sweep's folder or address; the sweep may be unfinished.
    out
        File to write; ``report.html`` in the sweep's folder unless told.

    Raises
    ------
    ConfigError
        The folder holds no sweep that can be read.
    StorageError
        The file cannot be written.
    """
    folder = Folder.at(sweep)
    page = render(read_sweep(folder))
    target, name = (Folder.at(out.parent), out.name) if out else (folder, REPORT)
    target.write(name, page)
    return str(target / name)


def render(sweep: SweepRecord) -> str:
    """Return a sweep's report as HTML."""
    pictures = sorted((kind() for _, kind in Picture.variants.items()), key=lambda picture: picture.place)
    panels = [(picture, panel) for picture in pictures if (panel := picture.draw(sweep)) is not None]
    sections = "\n".join(_section(picture, panel) for picture, panel in panels)
    drawn = any(panel.figure is not None for _, panel in panels)
    return Template(_file("page.html")).substitute(
        title=escape(f"Sweep {sweep.name}"),
        style=_file("page.css"),
        notices="\n".join(f'<p class="notice">{escape(text)}</p>' for text in _notices(sweep)),
        facts="\n".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts(sweep)),
        sections=sections,
        # Scripts end at the first such tag, wherever it stands in them.
        plotly=get_plotlyjs().replace("</script", r"<\/script") if drawn else "",
        script=_file("page.js"),
    )


def _notices(sweep: SweepRecord) -> Iterable[str]:
    if not sweep.finished:
        asked = sweep.config.trials
        yield (
            f"This sweep is not finished: {len(sweep.trials)} of {asked} trials have reported so far. It still runs, or"
            " it was broken off; what follows may change."
        )
    if simulated(sweep):
        yield "The data are simulated: figures say how well a made-up world is learned, not how real viewers choose."


def _section(picture: Picture, panel: Panel) -> str:
    parts = [
        f'<section id="{picture.name}"><h2>{escape(picture.title)}</h2><p class="caption">{escape(panel.caption)}</p>'
    ]
    if panel.figure is not None:
        drawing = panel.figure.to_json().replace("<", r"\u003c")
        label = escape(f"{picture.title}: {panel.caption}")
        parts.append(
            f'<div class="scroll"><div class="plot" role="img" aria-label="{label}"'
            f' style="height:{panel.height}px;min-width:{panel.width}px"></div></div>'
            f'<script type="application/json">{drawing}</script>'
        )
    if panel.table is not None:
        parts.append(_table(panel.table, picture.title))
    return "".join([*parts, "</section>"])


def _table(table: Table, title: str) -> str:
    heads = "".join(
        f'<th scope="col"{_kind(column)}><button type="button">{escape(column.title)}</button></th>'
        for column in table.columns
    )
    rows = "\n".join(_row(row, table.columns, marked=place == table.marked) for place, row in enumerate(table.rows))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(title)}">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(row: Sequence[Any], columns: Sequence[Column], *, marked: bool) -> str:
    kind = ' class="marked"' if marked else ""
    cells = "".join(_cell(value, column) for value, column in zip(row, columns, strict=True))
    return f"<tr{kind}>{cells}</tr>"


def _kind(column: Column) -> str:
    return ' class="number"' if column.form else ""


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return f"<td{_kind(column)}></td>"
    if not column.form or isinstance(value, str):
        return f"<td{_kind(column)}>{escape(str(value))}</td>"
    return f'<td{_kind(column)} data-value="{value!r}">{escape(format(value, column.form))}</td>'


def _file(name: str) -> str:
    return resources.files("foveate_tune.report").joinpath(name).read_text(encoding="utf-8")


def facts(sweep: SweepRecord) -> list[tuple[str, str]]:
    """Return names and texts: data, protocol, search, budget, seeds and versions."""
    config, sweep_facts = sweep.config, sweep.facts
    data = _part(sweep_facts, "data")
    slots = f"{config.concurrent} at once at most"
    budget = f"{counted(sweep.steps, 'epoch' if sweep.steps > 1 else 'report')}, {duration(config.max_seconds)} at most"
    found = [
        ("sweep", sweep_facts.get("sweep")),
        ("data", data.get("title")),
        ("data hash", str(data.get("hash"))[:16]),
        ("protocol", f"{sweep_facts.get('protocol')}, validation only"),
        ("viewers", f"{int(sweep_facts.get('validation_viewers', 0)):,}"),
        ("level", _variant(config.level)),
        ("search", _searched(sweep)),
        ("scheduler", _variant(config.scheduler) if sweep.steps > 1 else "none: a trial reports once"),
        ("trials", f"{len(sweep.trials)} of {config.trials}, {slots}"),
        ("budget of a trial", budget),
        ("resources of a trial", _resources(config)),
        ("seed", sweep_facts.get("seed")),
        ("Foveate", _version(sweep_facts)),
    ]
    more = {
        key: value for key, value in sweep_facts.items() if key not in _SHOWN and isinstance(value, (str, int, float))
    }
    found += [(key.replace("_", " "), value) for key, value in more.items()]
    return [(name, str(value)) for name, value in found]


_SHOWN = {"sweep", "foveate", "commit", "data", "protocol", "validation_viewers", "seed"}


def simulated(sweep: SweepRecord) -> bool:
    """Return whether the figures come from a simulated world."""
    return bool(_part(sweep.facts, "data").get("simulated"))


def _part(facts_: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = facts_.get(name)
    return part if isinstance(part, Mapping) else {}


def _version(sweep_facts: Mapping[str, Any]) -> str:
    commit = sweep_facts.get("commit")
    changed = ", with changes" if str(commit).endswith("+") else ""
    return f"{sweep_facts.get('foveate')} ({str(commit)[:10]}{changed})" if commit else str(sweep_facts.get("foveate"))


def _variant(variant: Variant) -> str:
    """Return a variant with its plain settings, such as ``asha (grace_epochs 2, reduction 2.0)``."""
    plain = {key: value for key, value in to_dict(variant).items() if isinstance(value, (str, int, float))}
    settings = ", ".join(f"{key} {value}" for key, value in plain.items() if key != "name")
    return f"{variant.name} ({settings})" if settings else variant.name


def _searched(sweep: SweepRecord) -> str:
    return f"{_variant(sweep.config.search.searcher)}; {counted(len(sweep.columns()), 'setting')} varied"


def _resources(config: SweepConfig) -> str:
    custom = [f"{amount:g} {name}" for name, amount in config.resources.items()]
    each = ", ".join([counted(config.cpus, "CPU"), f"{config.gpus:g} GPU", *custom])
    return each if config.workers == 1 else f"{config.workers} processes of {each} each"
