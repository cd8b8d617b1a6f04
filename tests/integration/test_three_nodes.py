"""What runs on a laptop runs on a cluster of three nodes by naming it, and goes on when nodes and the GCS are lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clusters.nodes import nodes
from clusters.scenario import Scenario
from foveate.bundle import Bundle
from foveate.data.dataset import Dataset

pytestmark = [pytest.mark.cluster, pytest.mark.soak]


def test_a_sweep_ends_and_no_request_fails_while_nodes_and_the_gcs_are_lost(
    small_world: Dataset,
    small_bundle: Bundle,
    tmp_path: Path,
) -> None:
    with nodes(2, tmp_path) as ground:
        scenario = Scenario(ground, small_world, tmp_path)
        with scenario.serving(small_bundle) as steady:
            sweep = scenario.sweep(lose_after=3)
            scenario.replaced(ingress=2, retriever=2, ranker=2)
            scenario.promote_best(sweep, steady)
            scenario.scale("ranker", 4)
            scenario.lose()
            scenario.replaced(ingress=2, retriever=2, ranker=4)
            with ground.without_gcs():
                time.sleep(4.0)
            scenario.roll_back(small_bundle, steady)
        scenario.tally(steady.answers)
