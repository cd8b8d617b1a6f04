"""``foveate tune``: what cannot be run is refused in one line before anything starts, and a dry run starts nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from click.testing import CliRunner, Result

from foveate.core.errors import FoveateError
from foveate.data.dataset import Dataset
from foveate_cli.main import cli
from foveate_cluster.connection import Node, Resources, check_nodes
from foveate_tune.forecast import START_SECONDS, TRIAL_SECONDS
from foveate_tune.schedulers.asha import Asha

NARROW = ["search.mixers=[mean_pool]", "search.scorers=[dot_product]"]
NOTHING = [*NARROW, "search.settings={}"]
"""A space of one point."""


def tune(world: Dataset, tmp_path: Path, *words: str) -> Result:
    command = ["tune", "--data", str(world.path), "--out", str(tmp_path / "sweep"), *words]
    return CliRunner().invoke(cli, command, standalone_mode=False)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trails=3"], "unknown setting 'trails'. Did you mean 'trials'?"),
        (["search.mixer=[gated]"], "search: unknown setting 'mixer'. Did you mean 'mixers'?"),
        (["search.mixers=[gatd]"], "Did you mean 'gated'?"),
        (["search.losses=[bcee]"], "search.losses: no loss is called 'bcee'. Did you mean 'bce'?"),
        (["search.searcher=optna"], "no searcher is called 'optna'. Did you mean 'optuna'?"),
        (["search.searcher={name: optuna, order: lot}"], "search.searcher: unknown setting 'order'. Known: start."),
        (["scheduler=pbtt"], "Did you mean 'pbt'?"),
        (["cpus=4096"], "one trial asks for 4096 CPUs, but this machine has"),
        (["workers=2", "cpus=4096"], "one trial asks for 8192 CPUs in 2 workers, but this machine has"),
        (["gpus=2"], "a worker takes one GPU or a fraction, got gpus=2: set workers for several"),
        (["gpus=-0.5"], "a worker takes one GPU or a fraction"),
        (["search.settings={encoder.width: []}"], "search.settings.encoder.width: the list of values is empty"),
        (["search.settings={encoder: {width: [31]}}", "search.mixers=[multi_head]"], "search:"),
        (NOTHING, "search: there is only one combination of settings, so all 4 trials would be the same"),
        (["search.settings.encoder.mixer.hedas=[1]"], "no mixer that is searched has a setting 'hedas'"),
        ([*NARROW, "search.searcher=grid"], "write search.settings.train.learning_rate=[...]"),
        ([*NOTHING, "search.losses=[gbce]", "search.searcher=grid"], "'train.loss.t' is Uniform(low=0.5, high=1.0)"),
        (
            [*NARROW, "search.settings={encoder: {width: [32, 64]}}", "scheduler=pbt"],
            "has nothing to perturb: give one",
        ),
        (["search.searcher=optuna", "scheduler=pbt"], "scheduler=pbt draws all of its trials before one ends"),
        (["scheduler=pbt", "trials=1"], "scheduler=pbt needs a population: set trials to 2 or more"),
        (["scheduler=pbt", "epochs=2"], "set scheduler.interval below that"),
        (["scheduler=pbt", "scheduler.share=0.9"], "share must be above 0 and at most 0.5"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(
    small_world: Dataset, tmp_path: Path, words: list[str], says: str, dry: tuple[str, ...]
) -> None:
    result = tune(small_world, tmp_path, *words, *dry)
    assert isinstance(result.exception, FoveateError), result.output
    assert says in str(result.exception)
    assert not ray.is_initialized()
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_one_line_and_status_two(tmp_path: Path) -> None:
    code = "from foveate_cli.main import main; main()"
    words = ["tune", "--data", str(tmp_path / "no"), "--out", str(tmp_path / "sweep")]
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert str(tmp_path / "no") in run.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("need", "workers", "machines", "says"),
    [
        (Resources(2, 1), 1, [Node(8, 0), Node(1, 4)], "asks for 2 CPUs and 1 GPUs, but the nodes of the cluster have"),
        (
            Resources(1, 0.6),
            3,
            [Node(8, 2)],
            "1.8 GPUs in 3 workers, but the cluster has 8 CPUs and 2 GPUs, room for 2",
        ),
        (Resources(4), 1, [Node(2, 0), Node(2, 0)], "asks for 4 CPUs, but each node of the cluster has 2 CPUs"),
    ],
)
def test_what_no_node_can_hold_is_refused(need: Resources, workers: int, machines: list[Node], says: str) -> None:
    with pytest.raises(FoveateError, match=says):
        check_nodes(need, workers, machines, "the cluster")


def test_a_fraction_of_a_gpu_fits_within_one() -> None:
    assert [Node(8, 2).capacity(Resources(1, share)) for share in (0.25, 0.5, 0.6, 1.0)] == [8, 4, 2, 2]
    assert Node(3, 2).capacity(Resources(1, 0.25)) == 3


def test_a_dry_run_says_what_would_run_and_starts_nothing(small_world: Dataset, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    words = ["search.mixers=[gated,mean_pool]", "search.scorers=[dot_product]", "search.searcher=optuna", "trials=8"]
    result = tune(
        small_world, tmp_path, *words, "epochs=4", "--dry-run", "--cost-per-hour", "3600", "--json", str(told)
    )
    assert result.exception is None
    assert [path.name for path in tmp_path.iterdir()] == ["told.json"]
    assert not ray.is_initialized()
    said = json.loads(told.read_text())
    assert (said["trials"], said["combinations"], said["searcher"], said["scheduler"]) == (8, None, "optuna", "asha")
    assert said["variants"] == {"encoder.mixer": ["gated", "mean_pool"], "encoder.scorer": ["dot_product"]}
    assert said["settings"]["encoder.mixer=gated.heads"] == "1, 2, 4"
    assert (said["most_epochs"], said["expected_epochs"], said["gpu_hours"]) == (32, 24, 0)
    assert said["at_once"] == min(2, said["fit"])
    assert said["epoch_seconds"] > 0
    busy = 24 * said["epoch_seconds"] + 8 * TRIAL_SECONDS
    assert said["seconds"] == pytest.approx(START_SECONDS + busy / said["at_once"])
    assert said["price"] == pytest.approx(busy)
    for words in ("8 of endlessly many", "gated, mean_pool", "at most 32 in all, about 24 expected", "an estimate"):
        assert words in result.output


def test_a_dry_run_of_a_grid_counts_its_combinations(small_world: Dataset, tmp_path: Path) -> None:
    rates = "search.settings={train: {learning_rate: [0.001, 0.01]}, encoder: {width: [16, 32, 64]}}"
    words = [*NARROW, rates, "search.searcher=grid", "--trials", "100", "scheduler=none"]
    result = tune(small_world, tmp_path, *words, "--dry-run")
    assert "6 of 6 combinations, proposed by grid, stopped by none" in result.output


def test_asha_is_expected_to_halve_at_each_rung() -> None:
    assert [Asha(grace_epochs=2, reduction=2).expected(steps) for steps in (1, 2, 4, 8, 10)] == [1, 2, 3, 4, 4.25]
