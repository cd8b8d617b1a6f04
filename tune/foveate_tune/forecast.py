"""Forecast of a sweep that is not run: how much, where, for how long and at what price."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from foveate.core.space import Choice, Domain, Space
from foveate.data.dataset import open_dataset
from foveate_cluster.connection import Node, check_local, cluster, nodes, this_machine
from foveate_cluster.ray_cluster import check_address
from foveate_cluster.resources import Resources
from foveate_tune.config import SweepConfig
from foveate_tune.plan import Plan, planned

PILOT_SECONDS: Final = 15.0
"""How long settings are tried at most, in all, to time them."""
PILOT_DRAWS: Final = 6
"""How many different settings are tried: those that a random search begins with."""
START_SECONDS: Final = 10.0
"""Of a sweep before its first trial and after its last, on 2 cores."""
TRIAL_SECONDS: Final = 3.0
"""Of a trial beside its steps, on 2 cores: its process starts, its checkpoints are written."""


@dataclass(frozen=True)
class Forecast:
    """A sweep that was not run.

    Parameters
    ----------
    trials, combinations
        How many settings would be tried, of how many that there are; None where there is no end of them.
    searcher, scheduler
        Their names.
    variants, settings
        By path: the names to choose from, and the domains. A variant's own settings stand as ``PATH=NAME.SETTING``.
    cpus, gpus, resources, workers
        What each worker of a trial takes, and how many there are.
    where, machines
        On what: its name, and each node's CPUs and GPUs.
    fit, at_once
        How many trials fit at once, and how many would run at once.
    epochs, most_epochs, expected_epochs
        Most of one trial, most of all, and about how many of all with the scheduler.
    epoch_seconds
        About how long an epoch takes at the mean, measured here on some of the settings; None if unknown.
    seconds, cpu_hours, gpu_hours
        What is expected of the whole sweep.
    price
        What that costs, where an hour's price was told.
    """

    trials: int
    combinations: int | None
    searcher: str
    scheduler: str
    variants: Mapping[str, Sequence[str]]
    settings: Mapping[str, str]
    cpus: int
    gpus: float
    resources: Mapping[str, float]
    workers: int
    where: str
    machines: Sequence[Node]
    fit: int
    at_once: int
    epochs: int
    most_epochs: int
    expected_epochs: int
    epoch_seconds: float | None
    seconds: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    price: float | None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    def lines(self) -> list[tuple[str, str]]:
        """Return it for people: what is told, and what it is."""
        total = "endlessly many combinations" if self.combinations is None else f"{self.combinations:,} combinations"
        space = [(path, ", ".join(names)) for path, names in self.variants.items()] + list(self.settings.items())
        kinds = "; ".join(dict.fromkeys(self._has(node) for node in self.machines))
        many = f", {len(self.machines)} nodes" if len(self.machines) > 1 else ""
        custom = {name: amount * self.workers for name, amount in self.resources.items()}
        each = _resources(self.cpus * self.workers, self.gpus * self.workers, custom)
        workers = f" in {self.workers} workers" if self.workers > 1 else ""
        most, about = f"{self.most_epochs:,}", f"{self.expected_epochs:,}"
        return [
            ("trials", f"{self.trials:,} of {total}, proposed by {self.searcher}, stopped by {self.scheduler}"),
            *(
                ("searched" if number == 0 else "", f"{path}: {in_words}")
                for number, (path, in_words) in enumerate(space)
            ),
            ("a trial", f"{each}{workers}, at most {self.epochs} epochs"),
            ("runs on", f"{self.where}{many}: {kinds}"),
            ("at once", f"{self.at_once} of the {self.fit} that fit"),
            ("epochs", f"at most {most} in all" + (f", about {about} expected" if about != most else "")),
            *self._estimates(),
        ]

    def _has(self, node: Node) -> str:
        return _resources(node.cpus, node.gpus, {name: node.custom.get(name, 0.0) for name in self.resources})

    def _estimates(self) -> list[tuple[str, str]]:
        if self.seconds is None or self.epoch_seconds is None:
            return [("time", "not known before it runs")]
        measured = f"an epoch of {PILOT_DRAWS} settings took {self.epoch_seconds:.3g} s here at the mean"
        hours = f"{self.cpu_hours:.3g} CPU hours" + (f" and {self.gpu_hours:.3g} GPU hours" if self.gpu_hours else "")
        price = "" if self.price is None else f", {self.price:.2f} in all"
        return [
            (
                "time",
                f"about {_duration(self.seconds)}, an estimate: {measured}",
            ),
            ("cost", f"about {hours}{price}"),
        ]


def forecast(
    config: SweepConfig,
    data: Path,
    *,
    address: str | None = None,
    cost_per_hour: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> Forecast:
    """Say what a sweep would do, and refuse it for whatever it would be refused for.

    Parameters
    ----------
    address
        The cluster whose nodes are counted; None counts what this machine has.
    cost_per_hour
        Of one GPU where trials take one, else of one CPU.

    Raises
    ------
    ConfigError, DataError
        The user's mistake.
    """
    say = progress or (lambda _: None)
    check_address(address)
    need = config.worker_resources
    if address is None:
        check_local(need, config.workers)
    problem = config.level.prepare(open_dataset(data), config, say)
    plan = planned(config, problem)
    machines = _machines(address, need, config.workers)
    first = problem.first(plan.space)
    draws = [plan.space.draw_after(first, number, config.seed) for number in range(PILOT_DRAWS)]
    say(f"timing an epoch of {len(draws)} settings")
    epochs = problem.pilot(draws, PILOT_SECONDS / len(draws), config.cpus)
    return _forecast(config, plan, machines, epochs, address=address, cost_per_hour=cost_per_hour)


def _machines(address: str | None, need: Resources, workers: int) -> list[Node]:
    if address is None:
        return [this_machine()]
    with cluster(address, need, workers):
        return nodes()


def _forecast(
    config: SweepConfig,
    plan: Plan,
    machines: Sequence[Node],
    epoch_seconds: Sequence[float],
    *,
    address: str | None,
    cost_per_hour: float | None,
) -> Forecast:
    trials, epochs = plan.searcher.count, config.level.steps(config)
    fit = sum(node.capacity(config.worker_resources) for node in machines) // config.workers
    at_once = min(fit, config.concurrent, trials)
    each = config.scheduler.expected(epochs)
    trained = [min(each * seconds, config.max_seconds) + TRIAL_SECONDS for seconds in epoch_seconds]
    busy = trials * fmean(trained) if trained else None
    hours = None if busy is None else busy / 3600 * config.workers
    cpu_hours, gpu_hours = (None, None) if hours is None else (hours * config.cpus, hours * config.gpus)
    priced = gpu_hours if config.gpus else cpu_hours
    return Forecast(
        trials=trials,
        combinations=plan.space.size(),
        searcher=type(config.search.searcher).name,
        scheduler=type(config.scheduler).name,
        variants={path: tuple(names) for path, names in plan.space.branches.items()},
        settings={path: _in_words(domain) for path, domain in _every_setting(plan).items()},
        cpus=config.cpus,
        gpus=config.gpus,
        resources=config.resources,
        workers=config.workers,
        where="this machine" if address is None else f"the cluster at {address}",
        machines=tuple(machines),
        fit=fit,
        at_once=at_once,
        epochs=epochs,
        most_epochs=trials * epochs,
        expected_epochs=math.ceil(trials * each),
        epoch_seconds=fmean(epoch_seconds) if epoch_seconds else None,
        seconds=None if busy is None else START_SECONDS + busy / at_once,
        cpu_hours=cpu_hours,
        gpu_hours=gpu_hours,
        price=None if cost_per_hour is None or priced is None else priced * cost_per_hour,
    )


def _every_setting(plan: Plan) -> Space:
    space = plan.space
    found = [
        (space.label(path, names), domain)
        for names in space.combinations()
        for path, domain in space.domains(names).items()
    ]
    return dict(sorted(found, key=lambda pair: ("=" in pair[0], pair[0])))


def _resources(cpus: float, gpus: float, custom: Mapping[str, float]) -> str:
    own = [f"{cpus:g} CPU{'s' * (cpus != 1)}"] + ([f"{gpus:g} GPU{'s' * (gpus != 1)}"] if gpus else [])
    return " and ".join([*own, *(f"{amount:g} {name}" for name, amount in custom.items())])


def _in_words(domain: Domain) -> str:
    if isinstance(domain, Choice):
        return ", ".join(map(str, domain.values))
    kind = {"Uniform": "", "LogUniform": ", by orders of magnitude", "IntRange": ", whole"}[type(domain).__name__]
    return f"{domain.low:g} to {domain.high:g}{kind}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
