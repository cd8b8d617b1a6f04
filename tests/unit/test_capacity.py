"""Costs, the lines through them, and the plan made of them."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from foveate.bundle import Bundle, default_state
from foveate.core.config import to_dict
from foveate.core.errors import ConfigError
from foveate.state.sqlite.store import SqliteState
from foveate_capacity.costs import (
    Costs,
    Line,
    Lookup,
    Memory,
    Network,
    Point,
    Server,
    Setting,
    read_costs,
    write_costs,
)
from foveate_capacity.measure import fit, measure_lookup, slowness
from foveate_capacity.plan import Plan, plan
from foveate_capacity.prices import read_prices
from foveate_capacity.queueing import Load
from foveate_capacity.simulated import simulated_rows
from foveate_capacity.timing import BATCHES, Asked, time_stages
from foveate_cli.plan import command

COSTS = Costs(
    setting=Setting("a test", 2, "2026-01-01", {"foveate": "0"}, {"small": 10_000, "large": 100_000}, simulated=True),
    stages={
        "hydrate": Line(1e-4, 2e-4, 1e-9),
        "retrieve": Line(2e-3, 5e-4, 8e-9),
        "rank": Line(1e-3, 1e-3, 0.0),
        "select": Line(0.0, 5e-4, 0.0),
        "record": Line(1e-4, 2e-4, 0.0),
        "handover": Line(6e-5, 6e-6),
    },
    sources={"attention": Line(1e-3, 2e-4, 3e-9), "popularity": Line(0.0, 3e-5, 1e-9)},
    server=Server(ingress_s=1e-3, refused_s=2e-4, proxy_s=1e-4, hop_caller_s=2e-4, hop_callee_s=2e-4),
    memory=Memory(5e8, {"all": 1500.0, "ingress": 900.0, "retriever": 1300.0, "ranker": 1000.0}, 64, 15_000.0, 9_000.0),
    network=Network(120.0, 6_000.0, 1_700.0, 6_800.0),
    lookup=Lookup(200_000, 64, 894, 8, 0.96, 1e-4),
)
"""Made up for tests."""


def made(qps: float = 100.0, items: int = 10_000, costs: Costs = COSTS, gpu: str = "", **more: float) -> Plan:
    return plan(Load(qps, items, 1000, gpu, **more), costs, read_prices(None))  # type: ignore[arg-type]


def figure(of: Plan, what: str) -> float:
    return next(line.value for line in of.rows if line.what == what)


def points(line: Line, items: tuple[int, ...], noise: float = 0.0) -> list[Point]:
    rng = np.random.default_rng(0)
    sizes = [(size, count) for size in BATCHES for count in items]
    return [
        Point("rank", count, size, line.seconds(size, count) * (1 + noise * rng.normal()), 1.0) for size, count in sizes
    ]


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_known_line_is_found_again(noise: float) -> None:
    known = Line(2e-3, 5e-4, 4e-9, 1e-8)
    found = fit(points(known, (10_000, 100_000), noise))
    assert found.fixed_s == pytest.approx(known.fixed_s, rel=0.02 + 3 * noise)
    assert found.per_request_s == pytest.approx(known.per_request_s, rel=0.02 + 4 * noise)
    assert found.per_item_s == pytest.approx(known.per_item_s, rel=0.02 + 4 * noise)
    assert found.seconds(32, 100_000) == pytest.approx(known.seconds(32, 100_000), rel=0.01 + 2 * noise)
    assert found.misfit == pytest.approx(noise, abs=0.01)


def test_growth_is_not_made_of_noise_nor_of_one_size() -> None:
    flat = fit(points(Line(1e-3, 5e-4, 0.0), (10_000, 100_000), noise=0.03))
    assert flat.per_item_s == 0.0
    assert flat.seconds(1, 10**8) == pytest.approx(1.5e-3, rel=0.1)
    one_size = fit(points(Line(1e-3, 5e-4, 0.0), (10_000,)))
    assert one_size.per_item_s is None
    # Nobody knows: all of it is taken to grow.
    assert one_size.at(20_000)[1] == pytest.approx(1e-3)
    assert one_size.at(5_000)[1] == pytest.approx(5e-4)


def test_slow_batches_are_those_of_twice_the_median() -> None:
    some = [Point("rank", 1, 1, 1.0, slow) for slow in (1.1, 1.2, 3.0, 5.0)]
    assert slowness(some) == (pytest.approx(0.005), pytest.approx(4.0))
    assert slowness(some[:2]) == (0.0, 1.0)


def test_more_requests_and_more_videos_never_cost_less() -> None:
    by_rate = [made(qps=qps) for qps in (10, 1_000, 10_000, 100_000)]
    counts = [one.replicas["fused"] for one in by_rate]
    assert counts == sorted(set(counts))
    assert [one.monthly for one in by_rate] == sorted(one.monthly for one in by_rate)
    by_size = [made(qps=5_000, items=items) for items in (10_000, 300_000, 1_000_000, 10_000_000, 50_000_000)]
    assert [one.monthly for one in by_size] == sorted(one.monthly for one in by_size)
    assert [one.shards > 0 for one in by_size] == [False, False, False, True, True]


def test_replicas_do_the_work_at_the_target_and_a_node_is_spare() -> None:
    one = made(qps=5_000)
    full = COSTS.server.ingress_s + COSTS.server.proxy_s
    assert one.replicas["fused"] == pytest.approx(5_000 / 0.6 * sum(part.full_s for part in one.parts), abs=1)
    assert sum(part.full_s for part in one.parts) > full
    [group] = one.fleet.groups
    assert (group.nodes - 1) * group.each >= one.replicas["fused"]
    assert figure(one, "item vectors") == pytest.approx(10_000 * 64 * 4 / 2**30)


def test_a_gpu_scores_what_cores_would_have() -> None:
    cores, gpu = made(qps=5_000, items=20_000_000), made(qps=5_000, items=20_000_000, gpu="l4")
    assert figure(gpu, "GPUs") >= 2
    assert figure(cores, "GPUs") == 0
    assert gpu.shards == 1
    assert made(items=100_000_000, gpu="l4").shards > 1
    assert set(cores.replicas) == {"ingress", "retriever", "ranker", "shard"}
    assert gpu.replicas["shard"] <= cores.replicas["shard"]


def test_a_plan_with_shards_is_simulated_shard_by_shard() -> None:
    sharded = made(qps=200, items=20_000_000)
    assert sharded.shards >= 1
    lines = {(line.about, line.what): line.value for line in simulated_rows(sharded, COSTS)}
    assert lines["simulated", "not answered"] == 0
    assert lines["simulated", "p50"] > 1e3 * sum(part.alone_s for part in sharded.parts) / 2


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"items": 10**9}, r"takes .* s even when it comes alone.*'source popularity'|'union'"),
        ({"gpu": "abacus"}, r"--gpu 'abacus'.*Known: l4"),
        ({"qps": 0.0}, "--qps above 0"),
        ({"utilisation": 1.0}, "--utilisation"),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        made(**asked)  # type: ignore[arg-type]


def test_a_replica_that_no_node_holds_is_refused() -> None:
    heavy = replace(COSTS, memory=replace(COSTS.memory, per_item={"all": 1e8}))
    with pytest.raises(ConfigError, match=r"takes .* GiB, and the largest node of the price table has 1,024"):
        made(costs=heavy)


def test_a_plan_holds_in_the_simulator() -> None:
    lines = simulated_rows(made(qps=500), COSTS)
    found = {(line.about, line.what): line.value for line in lines}
    assert all(line.how == "simulated" for line in lines)
    assert found["simulated", "not answered"] == 0
    assert found["simulated, one node lost", "not answered"] == 0
    assert found["simulated", "p50"] < found["simulated", "p99"] < 100
    assert found["simulated, one node lost", "p99"] < 200


def test_costs_are_written_and_read_again_whole(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    write_costs(COSTS, path)
    assert read_costs(path) == COSTS
    less = to_dict(COSTS)
    del less["stages"]["rank"]
    path.write_text(json.dumps(less))
    with pytest.raises(ConfigError, match="lack stage 'rank'"):
        read_costs(path)


def test_the_verb_says_of_each_figure_how_it_came_about(tmp_path: Path) -> None:
    write_costs(COSTS, tmp_path / "costs.json")
    prices = tmp_path / "prices.yaml"
    table = {"nodes": {"own": {"cores": 8, "memory_gib": 32, "hourly": 1.0}}, "gpus": {}, "assumed": {"all": "ours"}}
    prices.write_text(yaml.safe_dump({**table, "date": "2026-01-01"}))
    asked = ["--costs", str(tmp_path / "costs.json"), "--qps", "100", "--items", "10000", "--viewers", "10"]
    more = ["--simulate", "--prices", str(prices), "--json", str(tmp_path / "plan.json")]
    done = CliRunner().invoke(command, [*asked, *more], catch_exceptions=False)
    assert done.exit_code == 0
    told = json.loads((tmp_path / "plan.json").read_text())
    assert {line["how"] for line in told["lines"]} == {"measured", "calculated", "simulated"}
    for word in ("gives out at", "replicas", "cost", "own", "p99", "simulated world", "assumed: ours"):
        assert word in done.output
    with pytest.raises(ConfigError, match=r"--costs FILE, or --bundle BUNDLE"):
        CliRunner().invoke(command, asked[2:], catch_exceptions=False)


def test_the_stages_of_a_bundle_are_timed(small_bundle: Bundle) -> None:
    with SqliteState(default_state(small_bundle.path)) as state:
        timed = time_stages(small_bundle, Asked.of(small_bundle, state), 0.1)
    stages = {point.stage for point in timed.stages}
    assert stages == {"hydrate", "retrieve", "rank", "select", "record", "handover"}
    assert {point.stage for point in timed.sources} == set(small_bundle.manifest.sources)
    assert all(0 < point.seconds <= point.slow_seconds for point in timed.stages)
    rank = fit([point for point in timed.stages if point.stage == "rank"])
    assert rank.seconds(32, 0) > 4 * rank.seconds(1, 0)
    assert timed.to_ranker > timed.to_retriever > 100
    assert timed.recorded > 100


def test_the_index_is_read_until_it_finds_what_is_asked() -> None:
    found = measure_lookup(16, 20_000, 0.9)
    assert found.recall >= 0.9
    assert 0 < found.probes < found.lists


def test_the_page_on_scale_is_made_of_costs_that_were_kept(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "infra" / "bench"))
    scale = importlib.import_module("scale")
    kept, page = read_costs(repository / "infra/bench/capacity_costs.json"), (repository / "infra/scale.md").read_text()
    assert kept.grows
    tables = [*scale.measured(kept), *scale.compared(repository / "infra/bench/capacity.json")]
    assert all(row in page for row in tables)
    today = plan(Load(scale.QPS, scale.ITEMS, scale.VIEWERS), kept, read_prices(None))
    for row in scale.breaks(scale.Case("today", today, kept)):
        assert row in page
    for word in ("measured", "simulated", "calculated", "assumed"):
        assert f"**{word}**" in page
