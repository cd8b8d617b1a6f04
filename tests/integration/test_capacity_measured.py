"""Costs as a server that is started for it gives them, and a plan from them. Minutes on a busy machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from foveate.bundle import Bundle
from foveate_capacity.costs import read_costs, write_costs
from foveate_capacity.measure import Effort, measure
from foveate_cli.plan import command
from foveate_serve.config import ServeConfig


@pytest.mark.soak
@pytest.mark.cluster
def test_what_serving_costs_is_measured_on_a_server(small_bundle: Bundle, tmp_path: Path) -> None:
    effort = Effort(stages_s=1.0, server_s=2.0, index_items=5_000)
    found = measure([small_bundle.path], effort)
    server, memory = found.server, found.memory
    assert 0 < server.refused_s < 0.05
    assert 0 < server.proxy_s < 0.01
    assert 0 < server.background_cores < 2
    assert server.hop_callee_s > 0
    assert 0 <= server.ingress_s < ServeConfig().deadline_ms / 1e3
    assert memory.per_replica > 1e8
    assert set(memory.per_item) == {"all", "ingress", "retriever", "ranker"}
    assert min(memory.per_viewer, memory.per_request) > 100
    assert found.network.answered > found.network.asked > 10
    path = tmp_path / "costs.json"
    write_costs(found, path)
    assert read_costs(path) == found
    asked = ["--costs", str(path), "--qps", "10", "--items", str(found.items), "--viewers", "100", "--simulate"]
    done = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
