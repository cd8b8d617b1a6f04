"""What runs on a laptop runs on three hosts by naming them, each with an address of its own and a token to get in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.hosts import NoHostsError
from clusters.on_hosts import STATE, OnHosts, on_hosts
from clusters.scenario import Scenario
from foveate.bundle import Bundle
from foveate.data.dataset import Dataset

pytestmark = [pytest.mark.cluster, pytest.mark.soak]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[OnHosts]:
    made = on_hosts(3, tmp_path)
    try:
        cluster = made.__enter__()
    except NoHostsError as error:
        pytest.skip(str(error))
    try:
        yield cluster
    finally:
        made.__exit__(None, None, None)


def test_a_sweep_ends_and_no_request_fails_while_a_host_is_lost_or_cut_off_and_the_gcs_starts_anew(
    ground: OnHosts,
    small_world: Dataset,
    small_bundle: Bundle,
    tmp_path: Path,
) -> None:
    scenario = Scenario(ground, small_world, tmp_path, [f"ingress.resources={{{STATE}: 0.01}}"])
    with scenario.serving(small_bundle) as steady:
        sweep = scenario.sweep(lose_after=3)
        scenario.replaced(ingress=2, retriever=2, ranker=2)
        ground.joined[0].cut()
        time.sleep(10.0)
        ground.joined[0].mend()
        with ground.without_gcs():
            time.sleep(4.0)
        scenario.promote_best(sweep, steady)
    scenario.tally(steady.answers)
