"""``foveate demo``: all of it in one command, from a raw log to slates over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click
import httpx
import polars as pl
from rich.markup import escape
from rich.table import Table

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError, TrainingError
from foveate.data.dataset import Dataset
from foveate.data.schema import USER_ID
from foveate_cli.common import (
    config_options,
    err,
    json_option,
    out,
    read_config,
    telling,
    usual_protocol,
    write_json,
)
from foveate_cli.stopping import stoppable
from foveate_cli.trial_board import following

if TYPE_CHECKING:
    from foveate.bundle import Bundle
    from foveate_tune.config import SweepConfig
    from foveate_tune.results.leaderboard import SweepResult

VIEWERS_ASKED = 3
SLATE = 5
EPOCH_ROWS = 40_000
"""Training rows of an epoch: a long log is not passed whole."""
MIXERS, SCORERS = ("filtered", "gated", "multi_head", "mean_pool"), ("cosine", "dot_product")
"""What it sweeps: the quick ones. Some scorers and mixers take many times as long."""
JUDGES, LABELLED = 2000, 2000
"""Viewers that judge a trial, and viewers of a window that the ranker learns from."""


@dataclass
class DemoRun:
    """What the demo did: printed as it happens, and kept for ``--json``.

    ``seconds`` holds each phase's wall time; ``requests`` each question with its answer over HTTP and its milliseconds.
    """

    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """Announce a phase and time it."""
        out.print(f"\n[bold]{len(self.seconds) + 1}. {title}[/bold]")
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 2)
        out.print(f"   [dim]{name}: {self.seconds[name]:.1f} s[/dim]")


@click.command(short_help="Simulate, sweep, train, serve and ask.")
@click.option("--data", type=click.Path(path_type=Path), help="Raw log to import; left out, a world is simulated.")
@click.option("--reader", help="How to read it, such as kuairand: see 'foveate variants readers'.")
@click.option("--viewers", type=click.IntRange(min=2), help="Viewers of the simulated world. [default: 2000]")
@click.option("--items", type=click.IntRange(min=20), help="Its videos. [default: 2000]")
@click.option("--days", type=click.IntRange(min=1), help="Its days. [default: 28]")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Where to work. [default: runs/demo-<time>]")
@click.option("--once", is_flag=True, help="Stop after asking, instead of staying up until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@config_options
@json_option
def command(
    *,
    data: Path | None,
    reader: str | None,
    folder: Path | None,
    once: bool,
    port: int,
    config: Path | None,
    overrides: tuple[str, ...],
    json_path: Path | None,
    **world: int | None,
) -> None:
    """Import or simulate a log, sweep encoders, train the winner, serve it and ask it for slates.

    KEY=VALUE and --config set anything of the sweep, such as trials=8 or recipe.constraints.max_per_channel=1.
    """
    from foveate_serve.app import start  # noqa: PLC0415 - Ray and torch cost seconds that --help is spared
    from foveate_serve.config import ServeConfig  # noqa: PLC0415
    from foveate_tune.config import SweepConfig  # noqa: PLC0415

    if (data is None) != (reader is None):
        raise ConfigError("--data and --reader go together: name both, or neither for a simulated world")
    size = {name: value for name, value in world.items() if value is not None}
    if data is not None and size:
        raise ConfigError(f"--{next(iter(size))} is of a simulated world: leave it out with --data")
    settings = read_config(SweepConfig, config, overrides, base=_short_sweep())
    demo_run = DemoRun(folder or Path("runs") / f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S}")
    with stoppable(), ExitStack() as serving:
        dataset = _watch_log(demo_run, data, reader, size)
        if usual := usual_protocol(demo_run.folder / "data", "recipe.protocol"):
            settings = read_config(SweepConfig, config, overrides, base=_short_sweep(), usual=usual)
        _sweep(demo_run, settings)
        bundle = _train(demo_run, dataset)
        with demo_run.step("serve", "Ray Serve deploys it: ingress, retriever, ranker with slate"):
            started = start(demo_run.folder / "bundle", config=ServeConfig(port=port), progress=_say)
            url = serving.enter_context(started)
        serving.enter_context(stoppable())
        with demo_run.step("ask", f"three viewers and a stranger ask {url}"):
            _ask(demo_run, url, dataset)
        _finish(demo_run, dataset, bundle, json_path)
        if not once:
            out.print(f"\nserving at {url} (try {url}/docs); Ctrl-C stops", markup=False)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()


def _short_sweep() -> SweepConfig:
    """Return settings under which the demo takes minutes on a log of any size."""
    from foveate.ranking.base import LabelDraw  # noqa: PLC0415
    from foveate.recommend.recipe import Recipe  # noqa: PLC0415
    from foveate.retrieval.attention import Attention  # noqa: PLC0415
    from foveate_tune.config import SweepConfig  # noqa: PLC0415
    from foveate_tune.search import SearchConfig  # noqa: PLC0415

    recipe = Recipe(label_draw=LabelDraw(queries=LABELLED))
    sources = tuple(
        replace(source, train=replace(source.train, epoch_rows=EPOCH_ROWS, validation_viewers=JUDGES))
        if isinstance(source, Attention)
        else source
        for source in recipe.sources
    )
    search = SearchConfig(mixers=MIXERS, scorers=SCORERS)
    return SweepConfig(recipe=replace(recipe, sources=sources), search=search)


def _watch_log(demo_run: DemoRun, data: Path | None, reader: str | None, size: dict[str, int]) -> Dataset:
    target = demo_run.folder / "data"
    if data is None or reader is None:
        from foveate.data.world.config import SimulateConfig  # noqa: PLC0415
        from foveate.data.world.simulate import simulate_dataset  # noqa: PLC0415

        with demo_run.step("data", "a simulated world of viewers and videos"):
            dataset = simulate_dataset(from_dict(SimulateConfig, size), target)
    else:
        from foveate.data.importing.import_dataset import import_dataset  # noqa: PLC0415
        from foveate.data.readers.base import Reader  # noqa: PLC0415

        with demo_run.step("data", f"the log at {data}, cleaned"):
            dataset = import_dataset(read_config(Reader.variants[reader], None, ()), data, target, _say)
    rows = dataset.manifest.rows
    counts = ", ".join(f"{rows[name]:,} {name}" for name in ("viewers", "items", "impressions", "events"))
    out.print(f"   {dataset.title}: {counts}", markup=False)
    return dataset


def _sweep(demo_run: DemoRun, settings: SweepConfig) -> SweepResult:
    from foveate_cli.tune import show  # noqa: PLC0415
    from foveate_tune.run_sweep import run_sweep  # noqa: PLC0415

    data, target = demo_run.folder / "data", demo_run.folder / "sweep"
    with demo_run.step("sweep", f"Ray Tune sweeps {settings.trials} attention variants, judged on validation alone"):
        with following() as say:
            result = run_sweep(replace(settings, data=data), data, target, progress=say)
        show(result, data, target)
    if not result.beats_popularity:
        raise TrainingError("the sweep's winner does not beat popularity on validation: give it more epochs=N")
    demo_run.facts["sweep"] = result.to_json()
    return result


def _train(demo_run: DemoRun, dataset: Dataset) -> Bundle:
    from foveate.api.training import train  # noqa: PLC0415
    from foveate_cluster.workers import grower_of, worker_group_of  # noqa: PLC0415
    from foveate_tune.results.pick import read_pick  # noqa: PLC0415

    with demo_run.step("train", "the winner retrieves, a LightGBM re-ranker learns on a later window"):
        picked, target = read_pick(demo_run.folder / "sweep"), demo_run.folder / "bundle"
        workers: dict[str, Any] = {
            "grower": grower_of(picked.recipe.ranker),
            "worker_group": worker_group_of(picked.recipe.train, demo_run.folder.resolve()),
        }
        with telling(indent="   ") as say:
            bundle = train(dataset, picked.recipe, out=target, origin=picked.origin, progress=say, **workers)
        out.print(f"   bundle {bundle.bundle_id}; its card is {demo_run.folder / 'bundle' / 'card.md'}", markup=False)
    return bundle


def _ask(demo_run: DemoRun, url: str, dataset: Dataset) -> None:
    """Ask for busy viewers and a stranger; then let the first like something, and ask again."""
    with httpx.Client(base_url=url, timeout=30.0) as client:
        for user_id in [*_busy_viewers(dataset), "a stranger"]:
            answer = _request(demo_run, client, {"user_id": user_id, "k": SLATE})
            _show(answer, f"for {user_id}" + (", who is new here" if answer["cold"] else ""))
        first = demo_run.requests[0]["answer"]
        liked = first["items"][0]
        event = {"user_id": first["user_id"], "item_id": liked["item_id"], "kind": dataset.manifest.positive_kinds[0]}
        client.post("/v1/events", json={"events": [event]}).raise_for_status()
        answer = _request(demo_run, client, {"user_id": first["user_id"], "k": SLATE})
        _show(answer, f"for {first['user_id']} again, who has just watched {_name(liked)}")


def _busy_viewers(dataset: Dataset) -> list[str]:
    counts = dataset.events.group_by(USER_ID).agg(pl.len()).sort(["len", USER_ID], descending=[True, False])
    return counts.head(VIEWERS_ASKED).collect()[USER_ID].to_list()


def _request(demo_run: DemoRun, client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    response = client.post("/v1/recommend", json=body)
    milliseconds = (time.perf_counter() - started) * 1e3
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    demo_run.requests.append({"request": body, "answer": answer, "milliseconds": round(milliseconds, 2)})
    return answer


_CUT = {"title": 32, "channel_id": 18}
"""Letters that are shown of each at most."""


def _show(answer: dict[str, Any], title: str) -> None:
    table = Table(title=f"{title}, request {answer['request_id']}", title_justify="left", box=None, pad_edge=False)
    for column in ("#", "item", "title", "channel", "from"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for item in answer["items"]:
        first, *others = item["sources"]
        origin = f"{first} +{len(others)}" if others else first
        # Cut beforehand: a table that is too wide cuts ids too, which are there to be copied.
        cut = [shorten(item[name] or "", width, placeholder="…") for name, width in _CUT.items()]
        table.add_row(str(item["rank"]), escape(item["item_id"]), *map(escape, cut), origin)
    out.print(table)


def _name(item: dict[str, Any]) -> str:
    return str(item["title"] or item["item_id"])


def _finish(demo_run: DemoRun, dataset: Dataset, bundle: Bundle, json_path: Path | None) -> None:
    answered = sorted(request["milliseconds"] for request in demo_run.requests)
    times = f"{answered[0]:.0f} to {answered[-1]:.0f} ms each"
    first = demo_run.requests[0]["answer"]["request_id"]
    out.print(f"\n{len(answered)} slates in {times}; all of it took {sum(demo_run.seconds.values()):.0f} s")
    out.print(f"everything is in {demo_run.folder}", markup=False)
    out.print(f"make a slate again: foveate replay {first} --bundle {demo_run.folder / 'bundle'}", markup=False)
    write_json(
        json_path,
        {
            "folder": str(demo_run.folder),
            "data": dataset.title,
            "simulated": dataset.manifest.simulated,
            "bundle_id": bundle.bundle_id,
            "seconds": demo_run.seconds,
            **demo_run.facts,
            "requests": demo_run.requests,
        },
    )


def _say(line: str) -> None:
    err.print(f"   {line}", markup=False, style="dim", soft_wrap=True)
