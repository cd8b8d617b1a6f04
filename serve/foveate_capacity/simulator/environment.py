"""The shared parts of a simulation: clock, random numbers, cores, and tallies."""

from __future__ import annotations

import random

import simpy

from foveate_capacity.simulator.cores import Cores, Process
from foveate_capacity.simulator.scenario import Scenario
from foveate_capacity.simulator.tally import StageResult, StageTally


class Simulation:
    """The ground of one run.

    Parameters
    ----------
    scenario
        What is simulated.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.env = simpy.Environment()
        self.scenario = scenario
        self.rng = random.Random(scenario.seed)
        self._shared = Cores(self.env, scenario.cores) if scenario.cores else None
        self._processes: dict[str, list[Process]] = {}
        self._tallies: dict[str, StageTally] = {}
        self._threads: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self.missed = 0
        """Requests for which a shard was not searched."""

    def process(self, part: str) -> Process:
        """Start a process of a part of the system."""
        process = Process(self._shared or Cores(self.env, 1))
        self._processes.setdefault(part, []).append(process)
        return process

    def tally(self, stage: str) -> StageTally:
        """Return a stage's tally, for one more of its batchers."""
        self._threads[stage] = self._threads.get(stage, 0) + 1
        return self._tallies.setdefault(stage, StageTally())

    def batch_s(self, stages: tuple[str, ...], requests: int) -> float:
        """Return the seconds of a core that a batch takes this time."""
        seconds, slow = self.scenario.timing.batch_s(stages, requests), self.scenario.stragglers
        return seconds * (slow.times if slow.share and self.rng.random() < slow.share else 1.0)

    def clear(self) -> None:
        """Forget what the parts did so far: the warm-up is over."""
        self.missed = 0
        for tally in self._tallies.values():
            tally.clear()
        self._used = {part: sum(one.used for one in some) for part, some in self._processes.items()}

    def stages(self, seconds: float) -> dict[str, StageResult]:
        """Return how each stage fared in the seconds since."""
        return {
            stage: StageResult(
                mean_batch=tally.taken / max(1, tally.batches),
                utilisation=tally.busy_s / (self._threads[stage] * seconds),
                mean_queue=tally.queued / max(1, tally.calls),
                longest_queue=tally.longest,
            )
            for stage, tally in self._tallies.items()
        }

    def busy(self, seconds: float) -> dict[str, float]:
        """Return the share of a core that a process of each part used since."""
        return {
            part: (sum(one.used for one in some) - self._used.get(part, 0.0)) / len(some) / seconds
            for part, some in self._processes.items()
        }
