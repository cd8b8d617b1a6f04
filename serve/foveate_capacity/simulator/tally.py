"""Results of a simulation: answers by outcome, and how busy every part was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


class StageTally:
    """What the batchers of one stage did, over all replicas, since the warm-up."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what was before."""
        self.calls = self.taken = self.batches = self.queued = self.longest = 0
        self.busy_s = 0.0

    def arrived(self, waiting: int) -> None:
        """Note a call and how many it found waiting."""
        self.calls += 1
        self.queued += waiting
        self.longest = max(self.longest, waiting)

    def worked(self, calls: int, busy_s: float) -> None:
        """Note a batch: its calls, and the seconds of a core that it needed."""
        self.taken += calls
        self.batches += 1
        self.busy_s += busy_s


@dataclass(frozen=True)
class StageResult:
    """How one stage fared.

    Parameters
    ----------
    mean_batch
        Requests in a batch.
    utilisation
        Share of the time that its threads were at work, by what the work needs.
    mean_queue, longest_queue
        Requests that a new one found waiting.
    """

    mean_batch: float
    utilisation: float
    mean_queue: float
    longest_queue: int


@dataclass(frozen=True)
class Outcome:
    """One request: when it came, how long it took, its status (0 where the replica was lost), what was degraded."""

    came: float
    took: float
    status: int
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Parameters
    ----------
    per_second
        Good answers a second: status 200, degraded ones among them.
    p50_ms, p99_ms
        Of the good answers, from when a request came; NaN where there is none.
    degraded
        Share of the good answers in which something stood in for a stage.
    turned_away, failed
        Shares of all requests: with 503 at the door, and otherwise.
    stages
        How each stage fared.
    busy
        Share of one core that a process of each part used, on the mean.
    outcomes
        Every request, in the order of their ends.
    partly
        Share of the requests for which a shard did not answer in time.
    """

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    degraded: float
    turned_away: float
    failed: float
    stages: Mapping[str, StageResult]
    busy: Mapping[str, float]
    outcomes: tuple[Outcome, ...] = field(repr=False, default=())
    partly: float = 0.0

    def good_between(self, begin: float, end: float) -> float:
        """Return the good answers a second to requests that ended between two moments of the run."""
        good = [one for one in self.outcomes if one.status == 200 and begin <= one.came + one.took < end]
        return len(good) / (end - begin)


def result_of(
    outcomes: list[Outcome], seconds: float, stages: Mapping[str, StageResult], busy: Mapping[str, float]
) -> Result:
    """Sum up the outcomes of the ``seconds`` that were looked at."""
    good = [one for one in outcomes if one.status == 200]
    p50, p99 = np.percentile([1e3 * one.took for one in good], (50, 99)) if good else (float("nan"),) * 2
    every = max(1, len(outcomes))
    return Result(
        requests=len(outcomes),
        per_second=len(good) / seconds,
        p50_ms=float(p50),
        p99_ms=float(p99),
        degraded=sum(bool(one.degraded) for one in good) / max(1, len(good)),
        turned_away=sum(one.status == 503 for one in outcomes) / every,
        failed=sum(one.status not in (200, 503) for one in outcomes) / every,
        stages=stages,
        busy=busy,
        outcomes=tuple(outcomes),
    )
