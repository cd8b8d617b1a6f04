"""An audit as one HTML file that needs no network: how the figures move along the strength, and who is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from foveate.audit.report import Audit, Point

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}.note{background:#fff4d6;padding:.5rem .8rem}"
)
_COLOURS = ("#0b6e99", "#d9730d", "#4d6461", "#ad1a72")
_HEIGHT = 340


def page(audit: Audit) -> str:
    """Return the page; plotly is imported only here."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - three seconds and a megabyte that only pages need

    sections = [
        ("What diversity costs", _TRADE, _trade(audit)),
        ("How popular, beside what viewers like", _BIAS, _bias(audit)),
        ("How far from each group's mix of categories", _CALIBRATION, _calibration(audit)),
        ("Whose channels are shown", _EXPOSURE, _exposure(audit)),
    ]
    body = "\n".join(
        f"<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{drawn}</section>"
        for title, text, drawn in sections
        if drawn
    )
    notices = [
        *audit.notes,
        *(["The data are simulated: they say nothing of real viewers."] if audit.simulated else []),
    ]
    about = (
        f"Bundle {audit.bundle} on {audit.data}: slates of {audit.slate_size} for {audit.viewers:,} viewers, policy"
        f" {audit.policy}; rules: {', '.join(audit.rules) or 'none'}."
    )
    script = get_plotlyjs().replace("</script", r"<\/script")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit of {escape(audit.bundle)}</title>'
        f"<style>{_STYLE}</style><script>{script}</script></head><body><h1>Audit</h1><p>{escape(about)}</p>"
        + "".join(f'<p class="note">{escape(text)}</p>' for text in notices)
        + f"{body}</body></html>\n"
    )


_TRADE = (
    "Change of each figure, in per cent of its value at strength 0. Beside the line that falls, NDCG@10, stand what it"
    " buys: dissimilarity within slates and the share of the catalogue that is shown."
)
_BIAS = (
    "Average popularity of what a group is shown, over that of what it liked: 0 % is no bias, 100 % says that what is"
    " shown is twice as popular."
)
_CALIBRATION = "Divergence of a slate's mix of categories from the viewer's own, in nats: 0 is the same mix."
_EXPOSURE = (
    "Share of all places by decile of channel size, the smallest tenth of the channels first, beside their share of the"
    " catalogue and of what viewers liked."
)


def _trade(audit: Audit) -> str:
    names: dict[str, Callable[[Point], float]] = {
        "NDCG@10": lambda point: point.everyone.ndcg,
        "dissimilarity by vector": lambda point: point.ild_by_vector,
        "dissimilarity by category": lambda point: point.ild_by_category,
        "coverage": lambda point: point.coverage,
    }
    first = audit.points[0]
    lines = {
        name: [100.0 * (read(point) / read(first) - 1.0) if read(first) else float("nan") for point in audit.points]
        for name, read in names.items()
    }
    return _lines(audit, lines, "change, %")


def _bias(audit: Audit) -> str:
    groups = audit.points[0].groups["taste"]
    lines = {name: [100.0 * point.groups["taste"][name].lift for point in audit.points] for name in groups}
    return _lines(audit, {**lines, "everyone": [100.0 * point.everyone.lift for point in audit.points]}, "lift, %")


def _calibration(audit: Audit) -> str:
    groups = audit.points[0].groups["activity"]
    lines = {name: [point.groups["activity"][name].miscalibration for point in audit.points] for name in groups}
    return _lines(audit, lines, "divergence, nats")


def _exposure(audit: Audit) -> str:
    import plotly.graph_objects as go  # noqa: PLC0415 - as above

    if not audit.decile_items:
        return ""
    last = audit.points[-1]
    bars = {
        "of the catalogue": audit.decile_items,
        "of what viewers liked": audit.decile_liked,
        f"of places at strength {audit.own.strength:g}": audit.own.deciles,
        f"of places at strength {last.strength:g}": last.deciles,
    }
    names = [str(place + 1) for place in range(len(audit.decile_items))]
    figure = go.Figure(
        [
            go.Bar(name=name, x=names, y=[100.0 * share for share in shares], marker_color=colour)
            for (name, shares), colour in zip(bars.items(), _COLOURS, strict=True)
        ]
    )
    return _drawn(figure, "decile of channels by size", "share, %")


def _lines(audit: Audit, lines: Mapping[str, Sequence[float]], unit: str) -> str:
    import plotly.graph_objects as go  # noqa: PLC0415 - as above

    along = [point.strength for point in audit.points]
    figure = go.Figure(
        [
            go.Scatter(name=name, x=along, y=list(values), mode="lines+markers", line={"color": colour})
            for (name, values), colour in zip(lines.items(), _COLOURS, strict=False)
        ]
    )
    if audit.strength is not None:
        figure.add_vline(x=audit.strength, line_dash="dot", annotation_text="this bundle")
    return _drawn(figure, f"strength of {audit.policy}", unit)


def _drawn(figure: Any, across: str, up: str) -> str:
    figure.update_layout(
        template="plotly_white",
        height=_HEIGHT,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        xaxis_title=across,
        yaxis_title=up,
        legend={"orientation": "h", "y": 1.15},
    )
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False}))
