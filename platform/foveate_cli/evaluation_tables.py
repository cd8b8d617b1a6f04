"""Tables of an evaluation: they fit 80 columns, and say more where there are :data:`WIDE` or more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Final

from rich import box
from rich.markup import escape
from rich.table import Table

from foveate_cli.common import out

if TYPE_CHECKING:
    from foveate.core.metrics import Difference, Interval
    from foveate.evaluation import Evaluation
    from foveate.evaluation.segments import Segment
    from foveate.evaluation.spans import Span

WIDE: Final = 110
_LABELS: Final = {
    "recent_popularity": "recent popularity",
    "transition_walk": "transition walk",
    "item_knn": "item-KNN",
    "covisitation": "co-visitation",
    "ease": "EASE",
    "als": "ALS",
    "blend": "z-score blend",
    "recent_popularity, counted anew": "counted anew",
}
BLENDS: Final = ("blend", "logistic blend")
RIVALS: Final = ("recent_popularity", "transition_walk", *BLENDS)
"""What two-stage is held against, beside the best source."""
_OURS: Final = "two-stage"
_DAY: Final = 24 * 3_600_000_000

_HEADS: Final = {
    "ndcg@10": "NDCG\n@10",
    "ndcg@10 debiased": "NDCG@10\ndebiased",
    "recall@10": "Recall\n@10",
    "recall@200": "Recall\n@200",
    "coverage@10": "coverage\n@10",
    "ild@10": "diversity\n@10",
}
_MORE_HEADS: Final = {
    "recall@10 debiased": "Recall@10\ndebiased",
    "novelty@10": "novelty\nbits",
    "lift@10": "popularity\nlift",
}


def show(evaluation: Evaluation) -> None:
    """Print the table, how far two-stage lies above, segments, windows, age, and what the caps did."""
    wide = out.width >= WIDE
    out.print(_models(evaluation, wide))
    out.print(_above(evaluation, wide))
    if evaluation.segments:
        for kind in ("viewers", "items"):
            out.print(_segments(evaluation, kind, wide))
    for title, spans in (("windows that follow one another", evaluation.windows), (_AGE, evaluation.ageing)):
        if spans:
            out.print(_spans(evaluation, title, spans, wide))
    # Sentences are wrapped between words.
    for line in (_caps_line(evaluation), *map(escape, evaluation.notes)):
        out.print(line, soft_wrap=False)


_AGE: Final = "the newest window part by part, by a model of its start"


def _models(evaluation: Evaluation, wide: bool) -> Table:
    trained = f"bundle {evaluation.bundle}" if evaluation.bundle else f"seeds {', '.join(map(str, evaluation.seeds))}"
    if len(evaluation.seeds) == 1:
        trained = trained.replace("seeds", "seed")
    asked = f"{evaluation.viewers:,} viewers, {evaluation.targets:,} targets"
    choice = "" if evaluation.target_choice == "all" else f", {evaluation.target_choice} targets"
    several = f", {len(evaluation.windows)} windows" if evaluation.windows else ""
    table = _table(f"{evaluation.protocol}{choice}{several}: {evaluation.data}\n{asked} · {trained}", "model")
    heads = {**_HEADS, **_MORE_HEADS} if wide else _HEADS
    for head in heads.values():
        table.add_column(head, justify="right", no_wrap=True)
    for row in evaluation.rows:
        figures = {**row.metrics, **row.beside}
        cells = [_percent(figures[name]) if name == "lift@10" else _cell(figures[name]) for name in heads]
        if row.model == "slate":
            # A slate ends after ten: what lies deeper is not shown to anyone.
            cells[list(heads).index("recall@200")] = "-"
        table.add_row(_label(row.model), *cells, style="bold" if row.model == _OURS else None)
    return table


def _above(evaluation: Evaluation, wide: bool) -> Table:
    present = {row.model for row in evaluation.rows}
    against = dict.fromkeys([evaluation.best_source, *(name for name in RIVALS if name in present)])
    table = _table(f"how far two-stage lies above in NDCG@10{_stamp(evaluation)}", "against", narrow=True)
    for head in (
        "%",
        "95 %",
        "absolute",
        "seen\nfrom, %",
        *(("debi-\nased, %", "95 %", "Recall\n@10, %", "95 %") if wide else ()),
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for name in against:
        own = evaluation.compared(name)
        best = ", best source" if name == evaluation.best_source else ""
        cells = [*_share(own), f"{own.absolute.mean:+.4f}", _number(own.detectable_percent, ".1f")]
        if wide:
            cells += [
                *_share(evaluation.compared(name, "ndcg@10 debiased")),
                *_share(evaluation.compared(name, "recall@10")),
            ]
        table.add_row(f"{_label(name)}{best}", *cells)
    table.caption = "seen from: the smallest difference found in 80 of 100 such comparisons"
    table.caption_justify = "left"
    return table


def _segments(evaluation: Evaluation, kind: str, wide: bool) -> Table:
    of_viewers = kind == "viewers"
    first = "ndcg@10" if of_viewers else "recall@10"
    others = ("coverage@10", "novelty@10", "lift@10") if of_viewers else ("coverage@10", "exposure@10")
    best = evaluation.best_source
    measured = "NDCG@10" if of_viewers else "Recall@10"
    table = _table(f"two-stage by segment of {kind}{_stamp(evaluation)}", kind)
    heads = ["viewers" if of_viewers else "targets", measured, f"above, %\n{_label(best)}"]
    heads += ["seen\nfrom, %", f"{_label(best)}\n{measured}"] if wide else []
    heads += ["coverage\n@10", *(["novelty\nbits", "popular\nlift"] if of_viewers else ["share of\nplaces"])]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    rivals = {(one.kind, one.name): one for one in evaluation.segments if one.model == best}
    for one in evaluation.segments:
        if one.model != _OURS or one.kind != kind:
            continue
        table.add_row(one.name, *_segment_cells(one, rivals[kind, one.name], first, others, wide))
    return table


def _segment_cells(one: Segment, rival: Segment, first: str, others: Sequence[str], wide: bool) -> list[str]:
    difference = rival.above
    share, bounds = _share(difference) if difference is not None else ("-", "")
    cells = [f"{one.size:,}", _cell(one.metrics[first]), f"{share}\n[dim]{bounds}[/dim]"]
    if wide:
        seen = _number(difference.detectable_percent, ".1f") if difference is not None else "-"
        cells += [seen, _cell(rival.metrics[first])]
    return [
        *cells,
        *(_percent(one.metrics[name]) if name == "lift@10" else _cell(one.metrics[name]) for name in others),
    ]


def _spans(evaluation: Evaluation, title: str, spans: Sequence[Span], wide: bool) -> Table:
    from foveate.evaluation.spans import ANEW  # noqa: PLC0415 - an evaluation has brought torch along

    table = _table(f"NDCG@10: {title}{_stamp(evaluation)}", "from")
    names = [evaluation.best_source, "recent_popularity", *([ANEW] if ANEW in spans[0].ndcg else [])]
    names += ["transition_walk", "logistic blend"] if wide else []
    names = [name for name in dict.fromkeys(names) if name in spans[0].ndcg]
    # What a part of a window is up against is popularity as it stands then, and a window's model the best source.
    against = ANEW if ANEW in names else evaluation.best_source
    columns = [_label(name).replace(" ", "\n").replace("-", "-\n") for name in names]
    heads = ["viewers", _OURS, *columns, f"above, %\n{_label(against)}"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    form = "%Y-%m-%d" if all(span.start % _DAY == 0 for span in spans) else "%m-%d %H:%M"
    for span in spans:
        share, bounds = _share(span.above[against])
        cells = [_cell(span.ndcg[name]) for name in (_OURS, *names)]
        table.add_row(_date(span.start, form), f"{span.viewers:,}", *cells, f"{share}\n[dim]{bounds}[/dim]")
    return table


def _table(title: str, first: str, *, narrow: bool = False) -> Table:
    # What parts the columns in any case is enough where there is little room.
    padding = 0 if narrow or out.width < WIDE else 1
    table = Table(
        title=escape(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, padding, 0, 0)
    )
    table.add_column(first, no_wrap=True)
    return table


def _label(model: str) -> str:
    return _LABELS.get(model, model)


def _cell(interval: Interval) -> str:
    if not isfinite(interval.mean):
        return "-"
    # Two short lines, the interval below the figure.
    digits, mean = (2, f"{interval.mean:.2f}") if interval.mean >= 1 else (3, f"{interval.mean:.4f}")
    bounds = "-".join(_bare(f"{value:.{digits}f}") for value in (interval.low, interval.high))
    return f"{mean}\n[dim]{bounds}[/dim]"


def _bare(figure: str) -> str:
    return figure[1:] if figure.startswith("0.") else figure


def _percent(interval: Interval) -> str:
    if not isfinite(interval.mean):
        return "-"
    return f"{100 * interval.mean:+.0f} %\n[dim]{100 * interval.low:+.0f} to {100 * interval.high:+.0f}[/dim]"


def _share(difference: Difference) -> tuple[str, str]:
    percent = difference.percent
    if not isfinite(percent.mean):
        return "-", ""
    return f"{percent.mean:+.1f}", f"{percent.low:+.1f} to {percent.high:+.1f}"


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if isfinite(value) else "-"


def _date(moment: int, form: str) -> str:
    return datetime.fromtimestamp(moment / 1e6, tz=UTC).strftime(form)


def _caps_line(evaluation: Evaluation) -> str:
    caps = evaluation.caps
    if not caps.rules:
        return f"no constraints are set{escape(_stamp(evaluation))}"
    kept = "no slate breaks one" if not caps.broken else f"{caps.broken:,} slates BREAK one: please report it"
    yielded = f"; soft ones yielded in {100 * caps.relaxed:.0f} %" if caps.relaxed else ""
    details = f"{', '.join(caps.rules)}; {kept}{yielded}"
    return f"constraints bound in {100 * caps.bound:.0f} % of slates ({details}){escape(_stamp(evaluation))}"


def _stamp(evaluation: Evaluation) -> str:
    return " [simulated]" if evaluation.simulated else ""
