"""Writes ``infra/scale.md``: what 100 million videos and 100,000 requests a second would take, from measured costs.

It reads what ``infra/bench/capacity.py`` measured (``--costs`` and ``--json`` of that), plans, simulates, and says of
each claim how it came about. Nothing is measured here; it takes some minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from foveate_capacity.costs import Costs, read_costs
from foveate_capacity.costs import Line as Cost
from foveate_capacity.plan import Plan, plan
from foveate_capacity.prices import Prices, read_prices
from foveate_capacity.queueing import Line, Load
from foveate_capacity.simulated import scenario_of
from foveate_capacity.simulator.scenario import Bursts, Failure, Scenario
from foveate_capacity.simulator.simulated_service import simulate

ITEMS, QPS, VIEWERS = 100_000_000, 100_000.0, 1_000_000_000
_ITEM_BYTES: Final = 1_024
"""Of an item's 64 numbers in training: weight, gradient and two moments of each; see ``sharded_items.py``."""
_EVENT_BYTES: Final = 72
"""As ``spread_training.py`` measured them."""
_EVENTS: Final = 50
"""Of each viewer, as everywhere on the page."""
_WORKERS: Final = 64
GPU = "h100"
FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """A plan under a name, and the costs that it is made from."""

    name: str
    plan: Plan
    costs: Costs


def bounded(costs: Costs) -> Costs:
    """Return the costs as if nothing but the search in shards grew with the catalogue: supposed, not built."""

    def flat(line: Cost) -> Cost:
        fixed, each = line.at(10_000)
        return Cost(fixed, each, 0.0, 0.0, line.items, line.misfit)

    return replace(
        costs,
        stages={name: flat(line) for name, line in costs.stages.items()},
        sources={name: flat(line) for name, line in costs.sources.items()},
    )


def measured(costs: Costs) -> list[str]:
    """Return the table of the lines through the measurements."""
    rows = [
        "| part | fixed ms a batch | ms a request | ns a request and video | misfit |",
        "|---|---:|---:|---:|---:|",
    ]
    named = {**costs.stages, **{f"source {name}": line for name, line in costs.sources.items()}}
    for name, line in named.items():
        grows = 1e9 * (line.per_item_s or 0.0)
        rows.append(
            f"| {name} | {1e3 * line.fixed_s:.2f} | {1e3 * line.per_request_s:.3f} | {grows:.2f} "
            f"| {100 * line.misfit:.0f} % |"
        )
    server = costs.server
    for name, seconds in (
        ("ingress: HTTP, checks, answer", server.ingress_s),
        ("HAProxy", server.proxy_s),
        ("a request that is turned away", server.refused_s),
        ("a hop, at the caller", server.hop_caller_s),
        ("a hop, at the callee", server.hop_callee_s),
    ):
        rows.append(f"| {name} | | {1e3 * seconds:.3f} | | |")
    return rows


def compared(path: Path) -> list[str]:
    """Return the table of the simulator beside the server."""
    figures = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        f"On {figures['setting']['machine']}, {figures['setting']['date']}; others kept at most "
        f"{max(row['others'] for row in figures['rows']):.2f} cores busy meanwhile.",
        "",
        "| load | requests/s, measured | simulated | apart | p50 ms, measured | simulated | apart "
        "| ms of a core, measured | simulated | apart |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in figures["rows"]:
        cells = []
        for was, is_now in (
            pair for at, pair in enumerate(zip(row["measured"], row["simulated"], strict=True)) if at != 2
        ):
            cells += [f"{was:.1f}", f"{is_now:.1f}", f"{100 * (is_now / was - 1):+.0f} %"]
        rows.append(f"| {row['load']} | {' | '.join(cells)} |")
    return rows


def planned(cases: Sequence[Case]) -> list[str]:
    """Return the plans side by side; a line that one of them lacks stays empty there."""
    rows = [f"| | figure | {' | '.join(case.name for case in cases)} | how |", f"|---|---|{'---:|' * len(cases)}---|"]
    found = [{(line.about, line.what): line for line in case.plan.rows} for case in cases]
    for about, what in dict.fromkeys(key for own in found for key in own):
        own = [one.get((about, what)) for one in found]
        some = next(line for line in own if line is not None)
        cells = " | ".join("" if line is None else _figure(line) for line in own)
        rows.append(f"| {about} | {what}, {some.unit or 'count'} | {cells} | {some.how} |")
    return rows


def _figure(line: Line) -> str:
    return f"{line.value:,.0f}" if abs(line.value) >= 100 or line.value == int(line.value) else f"{line.value:,.2f}"


def simulated(cases: Sequence[Case]) -> list[str]:
    """Return what cells of the plans do, as planned and in trouble."""
    rows = [
        "| plan | what happens | requests/s good | p50 ms | p99 ms | degraded | searched in part | not answered |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for case in cases:
        calm = scenario_of(case.plan, case.costs)
        for what, scenario in trouble(calm, scenario_of(case.plan, case.costs, lost=True)):
            print(f"simulating {case.name}: {what}", flush=True)
            one = simulate(scenario)
            shares = (one.degraded, one.partly, one.turned_away + one.failed)
            cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
            rows.append(
                f"| {case.name} | {what} | {one.per_second:,.0f} | {one.p50_ms:.0f} | {one.p99_ms:.0f} | {cells} |"
            )
    return rows


def trouble(calm: Scenario, lean: Scenario) -> list[tuple[str, Scenario]]:
    rate, half = calm.arrivals.per_second, calm.warm_up_s + calm.seconds / 3  # type: ignore[union-attr]
    gone = Failure("shard" if calm.shards else "ingress", half, 60.0)
    return [
        ("as planned", calm),
        ("one node of each kind lost", lean),
        ("the same, bursts of three times the rate", replace(lean, arrivals=Bursts(rate, 3.0, 0.2, 1.0))),
        (f"the same, and a {gone.deployment} dies", replace(lean, failures=(gone,))),
    ]


def breaks(case: Case) -> list[str]:
    """Return where parts give out, those first that are farthest from holding."""
    load = case.plan.load
    asked = {"requests/s": load.qps, "videos": float(load.items)}
    limits = [line for line in case.plan.rows if line.about == "gives out at"]
    limits.sort(key=lambda line: line.value / asked[line.unit])
    rows = ["| part | gives out at | of what is asked | why | how |", "|---|---:|---:|---|---|"]
    for line in limits:
        share = line.value / asked[line.unit]
        rows.append(f"| {line.what} | {line.value:,.0f} {line.unit} | {share:.2f} | {line.why} | {line.how} |")
    growing = [part for part in case.plan.parts if part.full_s > 0.01]
    scanned = ", ".join(f"{part.name} {1e3 * part.full_s:,.0f}" for part in growing)
    total = sum(part.full_s for part in case.plan.parts)
    rows += [
        "",
        f"Of {1e3 * total:,.0f} ms of a core that a request takes (calculated), the parts above 10 ms: {scanned}.",
    ]
    return rows


def training() -> list[str]:
    table = ITEMS * _ITEM_BYTES / 1e9
    log = VIEWERS * _EVENTS * _EVENT_BYTES / 1e12
    return [
        f"- Calculated: for {ITEMS:,} items that table has {table:,.0f} GB, {table / _WORKERS:,.1f} GB in each of"
        f" {_WORKERS} processes; to measure an epoch its weights are gathered in host memory, {table / 4:,.1f} GB, and"
        " to write a checkpoint the best weights so far and both moments as well, each as large.",
        f"- Calculated: the log of {VIEWERS:,} viewers of {_EVENTS} events takes `train` {log:,.1f} TB at most: this"
        " breaks first. Left: to read no more of the log in any process than the share of its own viewers.",
    ]


def page(costs: Costs, comparison: Path, prices: Prices) -> str:
    load = Load(QPS, ITEMS, VIEWERS)
    plain, gpu = (replace(load, gpu=kind) for kind in ("", GPU))
    without = bounded(costs)
    today = Case("today", plan(plain, costs, prices), costs)
    cases = [
        today,
        Case(f"today, {GPU}", plan(gpu, costs, prices), costs),
        Case("supposed", plan(plain, without, prices), without),
        Case(f"supposed, {GPU}", plan(gpu, without, prices), without),
    ]
    parts: dict[str, Any] = {
        "notes": "\n".join(f"- {note}." for note in today.plan.notes),
        "measured": measured(costs),
        "compared": compared(comparison),
        "planned": planned(cases),
        "simulated": simulated([cases[0], cases[2]]),
        "breaks": breaks(today),
        "memory": ", ".join(f"{name} {size:,.0f}" for name, size in costs.memory.per_item.items()),
        "per_viewer": f"{costs.memory.per_viewer:,.0f}",
        "per_request": f"{costs.memory.per_request:,.0f}",
        "asked": f"{costs.network.asked:,.0f}",
        "answered": f"{costs.network.answered:,.0f}",
        "to_retriever": f"{costs.network.to_retriever:,.0f}",
        "to_ranker": f"{costs.network.to_ranker:,.0f}",
        "lookup": _lookup(costs),
        "command": "foveate plan --costs infra/bench/capacity_costs.json"
        f" --qps {QPS:.0f} --items {ITEMS} --viewers {VIEWERS}",
        "gpu": GPU,
        "event_bytes": str(_EVENT_BYTES),
        "training": training(),
    }
    words = (FOLDER / "lab" / "scale_words.md").read_text(encoding="utf-8")
    return words.format(**{name: "\n".join(part) if isinstance(part, list) else part for name, part in parts.items()})


def _lookup(costs: Costs) -> str:
    index = costs.lookup
    if index is None:
        return "no index was measured"
    return (
        f"{index.probes} of {index.lists:,} lists of {index.items:,} made-up vectors of {index.width} numbers find"
        f" {index.recall:.3f} of the true best 200 in {1e3 * index.seconds:.3f} ms of a core"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--costs", type=Path, default=FOLDER / "capacity_costs.json")
    parser.add_argument("--comparison", type=Path, default=FOLDER / "capacity.json")
    parser.add_argument("--out", type=Path, default=FOLDER.parent / "scale.md")
    options = parser.parse_args()
    options.out.write_text(page(read_costs(options.costs), options.comparison, read_prices(None)), encoding="utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
