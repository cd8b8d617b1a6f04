"""Draws the pictures of the documents as SVG: ``python infra/docs/draw.py``.

Text stands in filled boxes and nothing else has a background, so that a light page and a dark one show it alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, TypeAlias
from xml.sax.saxutils import escape

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "images"

DATA: Final = "#475569"
SWEEP: Final = "#6d4fc4"
TRAIN: Final = "#2459c4"
SERVE: Final = "#0b6e66"
VIEWER: Final = "#a3490b"
LINE: Final = "#8791a3"
FRAME: Final = "#7c8698"

Side: TypeAlias = Literal["left", "right", "top", "bottom"]


@dataclass(frozen=True)
class Box:
    """A filled box with a title and lines of text below it; sizes in pixels."""

    x: float
    y: float
    w: float
    h: float
    title: str
    lines: tuple[str, ...] = ()
    fill: str = DATA

    def at(self, side: Side, along: float = 0.5) -> tuple[float, float]:
        """Return the point at a share ``along`` one side."""
        if side in ("left", "right"):
            return self.x + (self.w if side == "right" else 0), self.y + along * self.h
        return self.x + along * self.w, self.y + (self.h if side == "bottom" else 0)

    def svg(self) -> str:
        """Return the box as SVG."""
        size, step = 15, 17
        top = self.y + self.h / 2 - step * len(self.lines) / 2 + size / 2 - 2
        middle = self.x + self.w / 2
        shape = f'<rect x="{self.x}" y="{self.y}" width="{self.w}" height="{self.h}" rx="9" fill="{self.fill}"/>'
        words = [f'<text x="{middle}" y="{top:g}" class="title">{escape(self.title)}</text>']
        for number, line in enumerate(self.lines, start=1):
            words.append(f'<text x="{middle}" y="{top + step * number + 2:g}" class="line">{escape(line)}</text>')
        return shape + "".join(words)


@dataclass(frozen=True)
class Frame:
    """A dashed frame around boxes, with its name on the upper edge."""

    x: float
    y: float
    w: float
    h: float
    name: str

    def svg(self) -> str:
        """Return the frame as SVG."""
        shape = f'<rect x="{self.x}" y="{self.y}" width="{self.w}" height="{self.h}" rx="12" class="frame"/>'
        return shape + _label(self.x + self.w / 2, self.y, self.name)


@dataclass(frozen=True)
class Arrow:
    """A line through points, of which the last has the head; the label stands at a share of its longest part."""

    points: tuple[tuple[float, float], ...]
    label: str = ""
    dashed: bool = False
    share: float = 0.5

    def svg(self) -> str:
        """Return the arrow as SVG."""
        path = " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(self.points))
        line = f'<path d="{path}" class="{"dashed arrow" if self.dashed else "arrow"}" marker-end="url(#head)"/>'
        if not self.label:
            return line
        parts = list(pairwise(self.points))
        (ax, ay), (bx, by) = max(parts, key=lambda part: abs(part[0][0] - part[1][0]) + abs(part[0][1] - part[1][1]))
        return line + _label(ax + self.share * (bx - ax), ay + self.share * (by - ay), self.label)


Shape: TypeAlias = Box | Frame | Arrow


def joined(a: Box, b: Box, label: str = "", *, dashed: bool = False) -> Arrow:
    """Return a straight arrow between two boxes that lie beside or below each other."""
    if abs(a.y + a.h / 2 - b.y - b.h / 2) < 1:
        sides: tuple[Side, Side] = ("right", "left") if a.x < b.x else ("left", "right")
    else:
        sides = ("bottom", "top") if a.y < b.y else ("top", "bottom")
    return Arrow((a.at(sides[0]), b.at(sides[1])), label, dashed)


def picture(title: str, width: int, height: int, shapes: Sequence[Shape]) -> str:
    """Return a whole SVG file."""
    style = (
        "text{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;text-anchor:middle;fill:#fff}"
        ".title{font-size:15px;font-weight:600}.line{font-size:12.5px;fill-opacity:.92}.label{font-size:12px}"
        f".frame{{fill:none;stroke:{FRAME};stroke-width:1.5;stroke-dasharray:6 5}}"
        f".arrow{{fill:none;stroke:{LINE};stroke-width:2.2}}.dashed{{stroke-dasharray:6 5}}"
    )
    head = (
        '<marker id="head" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="6.5" markerHeight="6.5" orient="auto">'
        f'<path d="M0 0L10 5L0 10z" fill="{LINE}"/></marker>'
    )
    order = {Frame: 0, Box: 1, Arrow: 2}
    body = "\n".join(shape.svg() for shape in sorted(shapes, key=lambda shape: order[type(shape)]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<style>{style}</style>\n<defs>{head}</defs>\n{body}\n</svg>\n'
    )


def _label(x: float, y: float, text: str) -> str:
    width = 6.6 * len(text) + 16
    shape = f'<rect x="{x - width / 2:g}" y="{y - 10:g}" width="{width:g}" height="20" rx="10" fill="#5b6575"/>'
    return shape + f'<text x="{x:g}" y="{y + 4:g}" class="label">{escape(text)}</text>'


def system() -> str:
    """Draw all of Foveate."""
    w, h, gap, top, low = 166, 74, 34, 34, 196
    at = [20 + number * (w + gap) for number in range(5)]
    log = Box(at[0], top, w, h, "Watch log", ("CSV, Parquet, JSON,", "file, folder or store"))
    data = Box(at[1], top, w, h, "Dataset", ("read, cleaned,", "cut by time"))
    sweep = Box(at[2], top, w, h, "Sweep", ("Ray Tune, W&B:", "attention variants"), SWEEP)
    train = Box(at[3], top, w, h, "Training", ("sources, then", "LightGBM re-ranker"), TRAIN)
    gate = Box(at[4], top, w, h, "Gate", ("promotes a bundle", "into the registry"), TRAIN)
    app = Box(at[0], low, w, h, "Your application", ("asks for a slate,", "sends events"), VIEWER)
    ingress = Box(at[1], low, w, h, "Ingress", ("HTTP, keys, deadline,", "viewer's history"), SERVE)
    retriever = Box(at[2], low, w, h, "Retriever", ("attention and", "neighbours"), SERVE)
    ranker = Box(at[3], low, w, h, "Ranker", ("features, LightGBM,", "diversity, rules"), SERVE)
    state = Box(at[1], 336, w, h - 10, "Viewers' state", ("SQLite or Redis",), VIEWER)
    x, y = ranker.at("right")
    below, back = ranker.at("bottom", 0.4), ingress.at("bottom", 0.78)
    return picture(
        "Foveate: a log is imported, encoders are swept, a model is trained, promoted and served",
        1000,
        420,
        [
            *(log, data, sweep, train, gate, app, ingress, retriever, ranker, state),
            Frame(ingress.x - 17, low - 26, 3 * w + 2 * gap + 34, h + 44, "Ray Serve"),
            *(joined(a, b) for a, b in ((log, data), (data, sweep), (sweep, train), (train, gate))),
            *(joined(a, b) for a, b in ((ingress, retriever), (retriever, ranker))),
            Arrow((app.at("right", 0.36), ingress.at("left", 0.36))),
            Arrow((ingress.at("left", 0.68), app.at("right", 0.68))),
            Arrow((gate.at("bottom"), (gate.at("bottom")[0], y), (x + 3, y)), "bundle"),
            Arrow((below, (below[0], low + h + 36), (back[0], low + h + 36), back), "slate"),
            Arrow((ingress.at("bottom", 0.3), state.at("top", 0.3))),
            Arrow((state.at("top", 0.5), ingress.at("bottom", 0.5))),
        ],
    )


def request() -> str:
    """Draw one request in eight steps."""
    w, h = 190, 62
    rows = [54 + number * 84 for number in range(4)]
    client = Box(20, rows[0], 164, h, "Client", ("user, surface, filters",), VIEWER)
    state = Box(20, rows[1], 164, h, "Viewers' state", ("SQLite or Redis",), VIEWER)
    slate = Box(20, rows[3], 164, h, "Slate", ("items, and their sources",), VIEWER)
    parse = Box(262, rows[0], w, h, "1  Parse", ("bundle, moment, seed",), SERVE)
    hydrate = Box(262, rows[1], w, h, "2  Hydrate", ("history; what to leave out",), SERVE)
    answer = Box(262, rows[3], w, h, "8  Answer", ("then keep impressions",), SERVE)
    sources = ("attention", "co-visitation", "popularity", "and other sources")
    retrieve = Box(520, rows[1], w, 146, "3  Retrieve", sources, SERVE)
    join = Box(778, rows[0], w, h, "4  Join", ("channel, categories, dates",), SERVE)
    features = Box(778, rows[1], w, h, "5  Features", ("as in training",), SERVE)
    rank = Box(778, rows[2], w, h, "6  Rank", ("LightGBM",), SERVE)
    select = Box(778, rows[3], w, h, "7  Select", ("diversity, caps, rules",), SERVE)
    tall = rows[3] + h - rows[0] + 42
    right, kept, store = retrieve.at("right", 0.21), answer.at("left", 0.2), state.at("right", 0.75)
    return picture(
        "One request in eight steps",
        1000,
        400,
        [
            *(client, state, slate, parse, hydrate, answer, retrieve, join, features, rank, select),
            Frame(244, rows[0] - 26, w + 36, tall, "Ingress"),
            Frame(502, rows[0] - 26, w + 36, tall, "Retriever"),
            Frame(760, rows[0] - 26, w + 36, tall, "Ranker"),
            *(joined(a, b) for a, b in ((client, parse), (parse, hydrate), (join, features), (features, rank))),
            *(joined(a, b) for a, b in ((rank, select), (select, answer), (answer, slate))),
            joined(state, hydrate),
            Arrow((hydrate.at("right"), retrieve.at("left", h / 2 / 146))),
            Arrow((right, (738, right[1]), (738, join.at("left")[1]), join.at("left"))),
            Arrow((kept, (214, kept[1]), (214, store[1]), store), "impressions", dashed=True),
        ],
    )


def event() -> str:
    """Draw the path of one event from a raw file to a slate."""
    w, h, gap = 166, 74, 34
    at = [20 + number * (w + gap) for number in range(5)]
    top, low = 20, 150
    upper = [
        Box(at[0], top, w, h, "Raw file", ("CSV, Parquet, JSON",)),
        Box(at[1], top, w, h, "Reader", ("finds columns,", "names bad rows")),
        Box(at[2], top, w, h, "Dataset", ("impressions, events,", "items, viewers")),
        Box(at[3], top, w, h, "Windows", ("by time or order",)),
        Box(at[4], top, w, h, "Trials", ("oldest window;", "validation alone"), SWEEP),
    ]
    lower = [
        Box(at[4], low, w, h, "Training", ("ranker learns in", "a later window"), TRAIN),
        Box(at[3], low, w, h, "Evaluation", ("a window that no", "training has read"), TRAIN),
        Box(at[2], low, w, h, "Gate", ("against the bundle", "that serves"), TRAIN),
        Box(at[1], low, w, h, "Serving", ("slates for viewers",), SERVE),
        Box(at[0], low, w, h, "Viewers' state", ("impressions, events;", "the next request reads it"), VIEWER),
    ]
    path = [*upper, *lower]
    arrows = [joined(a, b) for a, b in pairwise(path)]
    return picture("The path of one event", 1000, 244, [*path, *arrows])


def trial() -> str:
    """Draw one trial of a sweep."""
    w, h = 170, 74
    searcher = Box(20, 60, w, h, "Searcher", ("random, grid, Optuna:", "draws settings"), SWEEP)
    epoch = Box(258, 60, w, h, "Train an epoch", ("mixer, scorer, loss",), TRAIN)
    validate = Box(470, 60, w, h, "Validate", ("NDCG on validation,", "checkpoint"), TRAIN)
    scheduler = Box(736, 60, w + 44, h, "Scheduler", ("ASHA, PBT or none:", "continue or stop?"), SWEEP)
    journal = Box(470, 220, w, h, "Journal", ("W&B, TensorBoard;", "a sweep resumes from it"))
    board = Box(736, 220, w + 44, h, "Leaderboard", ("report, Pareto front, verdict",))
    train = Box(736, 336, w + 44, h - 10, "foveate train --from", ("the winner becomes a bundle",), TRAIN)
    back = scheduler.at("bottom", 0.25)
    return picture(
        "One trial of a sweep",
        1000,
        420,
        [
            *(searcher, epoch, validate, scheduler, journal, board, train),
            Frame(240, 34, 418, 124, "a process of Ray Tune"),
            *(joined(a, b) for a, b in ((searcher, epoch), (epoch, validate), (validate, scheduler))),
            Arrow((back, (back[0], 186), (epoch.at("bottom")[0], 186), epoch.at("bottom")), "continue", share=0.25),
            Arrow((scheduler.at("bottom", 0.7), board.at("top", 0.7)), "stop, or done"),
            *(joined(a, b) for a, b in ((validate, journal), (journal, board), (board, train))),
        ],
    )


PICTURES: Final = {"system": system, "request": request, "event": event, "trial": trial}


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
