"""Remake docs/results.md: every planned set, measured or not run, with published figures beside and their sources.

``results.yaml`` says what is planned. What is measured is kept in ``results.json``, and the page is made of what lies
there: so sets can be measured one by one. A set that nobody has measured is listed as 'not run'.

  make results                                      only remake the page
  make results ARGS="--run beauty toys"             measure these, then remake it
  make results ARGS="--run all --seeds 3"           everything whose data is at hand
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foveate import __version__
from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.errors import FoveateError
from foveate.core.overrides import apply_overrides
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.data.split import Protocol
from foveate.evaluation import Asking, Evaluation, evaluate
from foveate.recommend.recipe import Recipe
from lab.held_out import REPOSITORY, real_data

BENCH = Path(__file__).resolve().parent
LABELS = {
    "popularity": "popularity",
    "recent_popularity": "popularity of 7 days",
    "transition_walk": "transition walk",
    "item_knn": "item-KNN",
    "covisitation": "co-visitation",
    "ease": "EASE",
    "als": "ALS",
    "attention": "**encoder**",
    "blend": "z-score blend",
    "logistic blend": "logistic blend",
    "two-stage": "**two-stage**",
}
"""The models of the page; a slate is bound by rules, which published figures are not."""


@dataclass(frozen=True)
class Published:
    """A figure that others have published; ``paper`` is a key of the plan's papers."""

    model: str
    recall: float
    ndcg: float
    paper: str
    unchecked: bool = False
    note: str = ""


@dataclass(frozen=True)
class Planned:
    """One table of the page.

    Parameters
    ----------
    name, title
        Of the table.
    protocol, windows
        How the log is cut, and how many test windows follow one another.
    data, reader
        Where the raw set lies below the folder of real data, and who reads it.
    recipe
        A file of ``infra/recipes``; empty takes the default recipe.
    missing
        Why nothing can be measured here.
    published
        What others came to.
    """

    name: str
    title: str
    protocol: Protocol
    windows: int = 1
    data: str = ""
    reader: str = ""
    recipe: str = ""
    missing: str = ""
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Plan:
    """All tables, in order, and the sources of published figures."""

    papers: dict[str, str] = field(default_factory=dict)
    sets: tuple[Planned, ...] = ()


def measured(planned: Planned, dataset: Dataset, *, seeds: Sequence[int], overrides: Sequence[str]) -> dict[str, Any]:
    """Evaluate one set; return what the page says of it, and everything that was measured."""
    settings = load_yaml(REPOSITORY / "infra" / "recipes" / f"{planned.recipe}.yaml") if planned.recipe else {}
    recipe = replace(from_dict(Recipe, apply_overrides(settings, overrides, Recipe)), protocol=planned.protocol)
    start = time.monotonic()
    found = evaluate(
        dataset, recipe, planned.protocol, tuple(seeds), asking=Asking(windows=planned.windows), progress=_say
    )
    return record(planned, recipe, found, seconds=time.monotonic() - start, overrides=overrides)


def record(
    planned: Planned, recipe: Recipe, found: Evaluation, *, seconds: float, overrides: Sequence[str]
) -> dict[str, Any]:
    """Return what is kept of an evaluation."""
    config = to_dict(recipe)
    return {
        "name": planned.name,
        "recipe": planned.recipe,
        "overrides": list(overrides),
        "config_hash": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12],
        "seconds": round(seconds),
        "made": datetime.now(tz=UTC).strftime("%Y-%m-%d"),
        "version": __version__,
        "evaluation": found.to_json(),
    }


def read_kept(path: Path) -> dict[str, Any]:
    """Return what was measured, by the name of the set."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def page(plan: Plan, found: dict[str, Any]) -> str:
    """Return the page in Markdown, of what was measured by name."""
    run = [one for one in plan.sets if one.name in found]
    lines = [
        "# Results on published sets",
        "",
        "`make results` remakes this page from what was measured; nothing else stands in it. Every item is ranked,",
        "the seen are left out, ties count at mid-rank. `±` is half of the 95 % bootstrap interval over viewers.",
        "Published figures are those of the [sources](#sources) named, on the same set and protocol: how they cut,",
        "rank and tune may differ from what is done here.",
        "",
        f"- Measured: {', '.join(one.name for one in run) or 'nothing yet'}.",
        f"- Not run: {', '.join(one.name for one in plan.sets if one.name not in found) or 'nothing'}.",
    ]
    for planned in plan.sets:
        lines += ["", f"## {planned.title}", "", *_section(planned, found.get(planned.name))]
    lines += ["", "## Sources", "", *(f"- {name}: {source}" for name, source in plan.papers.items())]
    return "\n".join([*lines, ""])


def _section(planned: Planned, kept: dict[str, Any] | None) -> Iterator[str]:
    yield "| model | Recall@10 | NDCG@10 | source |"
    yield "| --- | ---: | ---: | --- |"
    rows = kept["evaluation"]["rows"] if kept else []
    for row in rows:
        # Without a clock there are no last seven days: that row is plain popularity once more.
        same = planned.protocol == "leave-one-out" and row["model"] == "recent_popularity"
        if row["model"] in LABELS and not same:
            recall, ndcg = (row["metrics"][name] for name in ("recall@10", "ndcg@10"))
            yield f"| {LABELS[row['model']]} | {_figure(recall)} | {_figure(ndcg)} | measured |"
    if not rows:
        yield f"| Foveate | not run | not run | {planned.missing} |"
    for one in planned.published:
        doubt = [*(["not checked again"] if one.unchecked else []), *([one.note] if one.note else [])]
        source = f"{one.paper} ({'; '.join(doubt)})" if doubt else one.paper
        yield f"| {one.model} | {one.recall:.4f} | {one.ndcg:.4f} | {source} |"
    if kept:
        yield from ("", _provenance(planned, kept), "")
        yield from _gains(kept["evaluation"])


def _provenance(planned: Planned, kept: dict[str, Any]) -> str:
    found = kept["evaluation"]
    recipe = f"`infra/recipes/{kept['recipe']}.yaml`" if kept["recipe"] else "the default recipe"
    changed = f" changed by `{' '.join(kept['overrides'])}`," if kept["overrides"] else ""
    seeds = ", ".join(map(str, found["seeds"]))
    stamp = " **Simulated data.**" if found["simulated"] else ""
    return (
        f"{found['data']}: {found['viewers']:,} viewers, {found['targets']:,} targets. Config {recipe},{changed} hash"
        f" `{kept['config_hash']}`; data hash `{found['content_hash'][:12]}`; seeds {seeds};"
        f" {kept['seconds']:,} seconds; version {kept['version']}, {kept['made']};"
        f" `{_command(planned, kept)}`.{stamp}"
    )


def _command(planned: Planned, kept: dict[str, Any]) -> str:
    words = ["--run", planned.name, "--seeds", str(len(kept["evaluation"]["seeds"]))]
    words += ["--override", *kept["overrides"]] if kept["overrides"] else []
    return f'make results ARGS="{shlex.join(words)}"'


def _gains(found: dict[str, Any]) -> Iterator[str]:
    rivals = {found["best_source"], "transition_walk", "blend", "logistic blend"}
    rivals |= {"recent_popularity"} if found["protocol"] == "time" else set()
    for one in found["comparisons"]:
        share, seen = one["percent"], one["detectable_percent"]
        if one["metric"] == "ndcg@10" and one["against"] in rivals and share["mean"] is not None:
            name = LABELS[one["against"]].strip("*")
            least = f"; a difference from {seen:.1f} % on would have been seen" if seen is not None else ""
            yield (
                f"- two-stage against {name}: {share['mean']:+.1f} % of NDCG@10"
                f" ({share['low']:+.1f} to {share['high']:+.1f}){least}"
            )


def _figure(interval: dict[str, float | None]) -> str:
    if interval["mean"] is None or interval["low"] is None or interval["high"] is None:
        return "-"
    return f"{interval['mean']:.4f} ± {(interval['high'] - interval['low']) / 2:.4f}"


def _dataset(planned: Planned, folders: dict[str, Path], scratch: Path) -> Dataset:
    if planned.name in folders:
        return open_dataset(folders[planned.name])
    return import_dataset(Reader.variants[planned.reader](), real_data() / planned.data, scratch / planned.name)


def _folders(words: Sequence[str]) -> dict[str, Path]:
    return {name: Path(folder) for name, _, folder in (word.partition("=") for word in words)}


def _say(line: str) -> None:
    print(f"  {line}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="+", default=[], metavar="NAME", help="sets to measure; all for every one")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the recipe; said")
    parser.add_argument(
        "--data", nargs="*", default=[], metavar="NAME=FOLDER", help="dataset folders, imported already"
    )
    parser.add_argument("--plan", type=Path, default=BENCH / "results.yaml", help="what is planned, and published")
    parser.add_argument("--kept", type=Path, default=BENCH / "results.json", help="where measured figures are kept")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "results.md", help="the page")
    options = parser.parse_args()
    plan, folders = from_dict(Plan, load_yaml(options.plan)), _folders(options.data)
    known = {one.name for one in plan.sets}
    unknown = [name for name in (*options.run, *folders) if name not in known | {"all"}]
    if unknown:
        parser.error(f"no set is called {', '.join(unknown)}; planned are {', '.join(sorted(known))}")
    with tempfile.TemporaryDirectory() as scratch:
        for planned in plan.sets:
            if planned.name not in options.run and "all" not in options.run:
                continue
            if planned.name not in folders and not (planned.data and (real_data() / planned.data).exists()):
                print(f"{planned.name}: not run: {planned.missing or f'no data at {real_data() / planned.data}'}")
                continue
            print(f"{planned.name}: measuring", flush=True)
            dataset = _dataset(planned, folders, Path(scratch))
            kept = measured(planned, dataset, seeds=range(options.seeds), overrides=options.override)
            # Written after each set, for the next one may take an hour.
            everything = {**read_kept(options.kept), planned.name: kept}
            options.kept.write_text(json.dumps(everything, sort_keys=True, allow_nan=False) + "\n")
            print(f"{planned.name}: measured in {kept['seconds']} s", flush=True)
    found = read_kept(options.kept)
    options.out.write_text(page(plan, found))
    for planned in plan.sets:
        state = "measured" if planned.name in found else "not run"
        print(f"{state:<9} {planned.name}")
    print(f"page      {options.out}")


if __name__ == "__main__":
    try:
        main()
    except FoveateError as error:
        raise SystemExit(f"results: {error}") from None
