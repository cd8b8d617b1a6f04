"""``foveate audit``: what a bundle does to viewers and creators, and what more diversity would change and cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.markup import escape
from rich.table import Table

from foveate.bundle import Bundle
from foveate.core.errors import ConfigError
from foveate.data.dataset import open_dataset
from foveate_cli.common import json_option, out, reads, telling, write_json

if TYPE_CHECKING:
    from foveate.audit import Audit, Group, Point


@click.command(short_help="Popularity bias, exposure, calibration, and what diversity changes.")
@reads("--bundle", "bundle", "The bundle to audit.", required=False)
@reads(
    "--data",
    "dataset",
    "Dataset folder: what it holds after the newest cut is what slates are judged by.",
    required=False,
)
@reads(
    "--shortcuts",
    "dataset",
    "Audit this dataset in place of a bundle: how far counting alone reaches, beside a default encoder.",
    required=False,
)
@click.option("--policy", metavar="NAME", help="The policy whose strength is varied; the bundle's own by default.")
@click.option(
    "--strength",
    "strengths",
    type=click.FloatRange(0, 1),
    multiple=True,
    help="A strength to try, from 0 to 1; may be given again. Default: eight from 0 to 1.",
)
@click.option("--rules/--no-rules", default=True, show_default=True, help="Whether slates keep the bundle's rules.")
@click.option(
    "--viewers", type=click.IntRange(min=0), default=2000, show_default=True, help="Ask so many at most; 0 asks all."
)
@click.option(
    "--encoder/--no-encoder",
    "encoder",
    default=True,
    show_default=True,
    help="With --shortcuts: train a default encoder to compare with. It takes most of the time.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write the plots to this file, which needs no network.")
@json_option
def command(
    *,
    bundle: Path | None,
    data: Path | None,
    shortcuts: Path | None,
    policy: str | None,
    strengths: tuple[float, ...],
    rules: bool,
    viewers: int,
    encoder: bool,
    html: Path | None,
    json_path: Path | None,
) -> None:
    """Tell what a bundle does to viewers and creators, and what more diversity would change and cost.

    How popular what is shown is beside what viewers like, how slots spread over channels and videos, how far slates
    stray from each group's mix of categories, and how all that moves with the strength of diversity.

    With --shortcuts DATA no bundle is needed: a walk over transitions, the popularity of seven days and co-visitation
    stand beside a default encoder, which is trained for it: a minute or two on a log of 100,000 events. --no-encoder
    leaves it out, and with it the answer to whether the log needs a model.

    Groups are thirds of the viewers: by how much they liked (light, medium, heavy), and by how much of that is among
    the most popular fifth of the videos (niche, diverse, mainstream). NDCG@10 stands beside each, so that the price
    shows. Definitions and their sources stand in foveate/audit/measures.py.
    """
    if shortcuts is not None:
        _show_shortcuts(shortcuts, viewers, encoder, json_path)
        return
    if bundle is None or data is None:
        raise click.UsageError(f"Missing option '{'--bundle' if bundle is None else '--data'}'.")
    from foveate.audit import STRENGTHS, audit  # noqa: PLC0415 - brings the sources and torch along

    loaded, dataset = Bundle.load(bundle), open_dataset(data)
    with telling() as say:
        answer = audit(
            loaded,
            dataset,
            policy=policy,
            strengths=strengths or STRENGTHS,
            rules=rules,
            most=viewers,
            progress=say,
        )
    show(answer)
    write_json(json_path, answer.to_json())
    if html is not None:
        _write_page(html, answer)


def _show_shortcuts(data: Path, viewers: int, encoder: bool, json_path: Path | None) -> None:
    from foveate.audit.shortcuts import shortcuts  # noqa: PLC0415 - brings the sources and torch along

    dataset = open_dataset(data)
    with telling() as say:
        found = shortcuts(dataset, train=encoder, viewers=viewers, progress=say)
    for one in found:
        table = _table(
            escape(f"{dataset.title}\n{one.protocol}, validation, {one.viewers:,} viewers, {one.targets:,} targets")
        )
        for head in ("model", "NDCG@10"):
            table.add_column(head, justify="left" if head == "model" else "right")
        for name, value in sorted(one.ndcg.items(), key=lambda pair: -pair[1]):
            table.add_row(name, _number(value, ".4f"), style="dim" if name == "attention" else None)
        out.print(table)
        shares = {
            "events that repeat an earlier one": one.repeated,
            "events at the time of the one before": one.tied,
            "targets among ten that most often follow the newest item": one.predictable,
            "targets among the week's hundred most popular": one.popular,
        }
        for what, share in shares.items():
            out.print(f"{'-' if share is None else f'{share:.1%}':>7}  {what}", markup=False)
        if one.seconds is not None:
            out.print(f"{one.seconds:6.0f}s  to train the encoder", markup=False)
        # Sentences are wrapped between words.
        out.print(one.sentence, markup=False, soft_wrap=False)
    write_json(json_path, {"data": dataset.title, "shortcuts": [one.to_json() for one in found]})


def show(answer: Audit) -> None:
    """Print what moves along the strength, the groups, and who is shown."""
    stamp = " [simulated]" if answer.simulated else ""
    title = (
        f"bundle {answer.bundle} on {answer.data}{stamp}: slates of {answer.slate_size} for {answer.viewers:,} viewers"
    )
    out.print(escape(title))
    out.print(f"rules: {', '.join(answer.rules) or 'none'}", markup=False)
    out.print(_price(answer))
    out.print("cost: mean score given up for diversity and rules", markup=False)
    out.print(_fairness(answer))
    out.print(_groups(answer))
    if answer.decile_items:
        out.print(_deciles(answer))
    for note in answer.notes:
        out.print(note, markup=False)


def _price(answer: Audit) -> Table:
    heads = ("NDCG@10", "change", "diversity by category", "by vector", "cost")
    table = _by_strength(f"accuracy and diversity within slates, by the strength of {answer.policy}", heads)
    for point in answer.points:
        cells = [
            _number(point.everyone.ndcg, ".4f"),
            _number(point.ndcg_change.percent.mean, "+.1f", " %"),
            *(_number(value, ".3f") for value in (point.ild_by_category, point.ild_by_vector, point.relevance_paid)),
        ]
        _add(table, answer, point, cells)
    return table


def _fairness(answer: Audit) -> Table:
    heads = ["coverage", "Gini", "popularity lift", "miscalib."]
    if answer.decile_items:
        heads.append("small channels")
    table = _by_strength("exposure of videos and channels", heads)
    for point in answer.points:
        small = sum(point.deciles[: len(point.deciles) // 2]) if point.deciles else float("nan")
        cells = [
            *(_number(value, ".3f") for value in (point.coverage, point.gini)),
            _number(100 * point.everyone.lift, "+.0f", " %"),
            _number(point.everyone.miscalibration, ".3f"),
            *([_number(100 * small, ".1f", " %")] if answer.decile_items else []),
        ]
        _add(table, answer, point, cells)
    return table


def _by_strength(title: str, heads: Sequence[str]) -> Table:
    table = _table(title)
    for head in ("strength", *heads):
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _add(table: Table, answer: Audit, point: Point, cells: list[str]) -> None:
    table.add_row(f"{point.strength:g}", *cells, style="bold" if point.strength == answer.strength else None)


def _groups(answer: Audit) -> Table:
    table = _table(f"groups of viewers at strength {answer.own.strength:g}")
    table.add_column("group", no_wrap=True)
    for head in ("viewers", "NDCG\n@10", "popularity\nliked", "shown", "lift", "mis-\ncalib."):
        table.add_column(head, justify="right", no_wrap=True)
    for kind, groups in answer.own.groups.items():
        for name, group in groups.items():
            table.add_row(f"{kind}: {name}", *_cells(group))
    table.add_row("everyone", *_cells(answer.own.everyone), style="bold")
    return table


def _cells(group: Group) -> list[str]:
    popular = (_number(100 * value, ".2f", " %") for value in (group.liked_popularity, group.shown_popularity))
    lift, off = _number(100 * group.lift, "+.0f", " %"), _number(group.miscalibration, ".3f")
    return [f"{group.viewers:,}", _number(group.ndcg, ".4f"), *popular, lift, off]


def _deciles(answer: Audit) -> Table:
    own, last = answer.own, answer.points[-1]
    columns = {"of the catalogue": answer.decile_items, "of what was liked": answer.decile_liked}
    columns |= {f"of places at {own.strength:g}": own.deciles, f"at {last.strength:g}": last.deciles}
    table = _table("shares by size of channel, the smallest tenth of the channels first")
    for head in ("tenth", *columns):
        table.add_column(head, justify="right", no_wrap=True)
    for place, shares in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(str(place + 1), *(_number(100 * share, ".1f", " %") for share in shares))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _number(value: float, form: str, unit: str = "") -> str:
    return f"{value:{form}}{unit}" if isfinite(value) else "-"


def _write_page(path: Path, answer: Audit) -> None:
    from foveate.audit.page import page  # noqa: PLC0415 - plotly starts slowly

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(answer), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html '{path}': {error.strerror}") from error
    out.print(f"plots: {path}", markup=False)
