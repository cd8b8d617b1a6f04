"""Whether logged propensities say what another policy would earn: estimates against the truth of the simulated world.

Viewers and videos are those of the simulated world, and so is the chance of a click. A policy shows slates of three
from eight candidates by scores that guess at the viewer's interest, under a cap by channel, with every place explored
by ``plackett_luce``; another one draws by a lower temperature. Every slate is enumerated with its odds, so the true
reward of the other policy (the mean number of clicks) is exact. Each run draws slates by those odds, and their clicks,
and estimates that reward by inverse propensities, plain and self-normalised. What is printed is how many of the
intervals hold the truth, their half-widths, and the effective sample sizes.
"""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.data.vocabulary import Vocabulary
from foveate.data.world.audience import make_audience, taste_paths
from foveate.data.world.behaviour import RECENT, Minds, attraction, interest, respond
from foveate.data.world.catalogue import NONE, make_catalogue
from foveate.data.world.config import SimulateConfig
from foveate.evaluation.off_policy import Estimate, ips, place_weights, self_normalised
from foveate.slate.constraints import Constraints
from foveate.slate.exploration.config import Budget, SlotDraw
from foveate.slate.exploration.plackett_luce import PlackettLuce
from foveate.slate.inputs import SlateInput
from foveate.slate.relevance import Relevance

VIEWERS, CANDIDATES, PLACES = 12, 8, 3
RULES = Constraints(max_per_channel=1, max_per_category=None)
SERVED, OTHER = PlackettLuce(temperature=1.5), PlackettLuce(temperature=0.7)


@dataclass(frozen=True)
class World:
    """``V`` viewers, each with ``N`` candidates and all ``S`` ordered slates of ``K`` of them.

    Parameters
    ----------
    slates
        ``[S, K]`` candidates.
    served, other
        ``[V, S, K]`` the odds of each place under either policy.
    clicks
        ``[V, N, K]`` the chance that a candidate is clicked at a place.
    """

    slates: NDArray[np.int64]
    served: NDArray[np.float64]
    other: NDArray[np.float64]
    clicks: NDArray[np.float64]

    @property
    def by_place(self) -> NDArray[np.float64]:
        """``[V, S, K]`` the chance of a click at each place of each slate."""
        return self.clicks[:, self.slates, np.arange(PLACES)]

    def truth(self, odds: NDArray[np.float64]) -> float:
        """Return the mean clicks of a slate under a policy with these odds."""
        return float((odds.prod(axis=2) * self.by_place.sum(axis=2)).sum(axis=1).mean())


def make_world(seed: int = 0, viewers: int = VIEWERS) -> World:
    """Return viewers of a simulated world with their candidates, and what either policy shows them."""
    config = SimulateConfig(viewers=viewers, items=300, days=7, seed=seed)
    rng = np.random.default_rng(seed)
    catalogue = make_catalogue(config, rng)
    audience = make_audience(config, catalogue, rng)
    taste = taste_paths(config, audience, slice(0, viewers), rng)[:, -1]
    awaited = np.full((viewers, RECENT), NONE)
    minds = Minds(np.zeros_like(taste), awaited, audience.favourites, audience.length, audience.language)
    items = np.sort(np.argsort(rng.random((viewers, len(catalogue))), axis=1)[:, :CANDIDATES], axis=1)
    now = np.full(viewers, catalogue.available.max())
    odds = interest(config, catalogue, minds, parts=attraction(catalogue, minds, taste, items), items=items, now=now)
    guess = (odds + rng.normal(size=odds.shape)).astype(np.float32)
    slates = np.array(list(itertools.permutations(range(CANDIDATES), PLACES)))
    pools = [_pool(*one) for one in zip(guess, items, catalogue.channel[items], strict=True)]
    served, other = (
        np.array(
            [[Relevance().odds(slate, pool, PLACES, RULES, seed=0, draw=draw) for slate in slates] for pool in pools]
        )
        for draw in (SlotDraw(policy, Budget(), "", 0) for policy in (SERVED, OTHER))
    )
    # The mean of many draws of the world's own, place by place: it says a chance only by what is clicked.
    clicks = np.zeros((viewers, CANDIDATES, PLACES))
    tries = 2000
    for place in range(PLACES):
        shown = np.full((viewers * CANDIDATES, PLACES), -1)
        shown[:, place] = items.ravel()
        flat = np.zeros(shown.shape, dtype=np.float32)
        flat[:, place] = odds.ravel()
        many = np.repeat(np.arange(len(shown)), tries)
        clicked = respond(
            config, catalogue, flat[many], items=shown[many], now=np.repeat(now, CANDIDATES)[many], rng=rng
        ).clicked[:, place]
        clicks[:, :, place] = clicked.reshape(viewers, CANDIDATES, tries).mean(axis=2)
    return World(slates, served, other, clicks)


def _pool(score: NDArray[np.float32], codes: NDArray[np.int64], channel: NDArray[np.int64]) -> SlateInput:
    n = len(score)
    unknown = np.full(n, np.nan, dtype=np.float32)
    return SlateInput(
        relevance=score,
        vectors=np.zeros((n, 1), dtype=np.float32),
        channel=channel.astype(np.int32),
        category=np.full(n, -1, dtype=np.int32),
        codes=codes.astype(np.int32),
        categories=np.zeros((n, 0), dtype=np.float32),
        category_names=(),
        taste=np.zeros(0, dtype=np.float32),
        tags=np.zeros((n, 0), dtype=bool),
        age_days=unknown,
        channel_standing=unknown,
        safety=unknown,
        duration=unknown,
        channels=Vocabulary(f"channel {code}" for code in range(int(channel.max()) + 1)),
    )


def estimates(world: World, slates: int, seed: int) -> tuple[Estimate, Estimate]:
    """Log slates of the served policy with their clicks, and estimate the other's reward in both ways."""
    rng = np.random.default_rng(seed)
    viewer_B = rng.integers(0, len(world.served), slates)
    edges = np.cumsum(world.served.prod(axis=2), axis=1)
    drawn_B = (rng.random(slates)[:, None] > edges[viewer_B] / edges[viewer_B, -1:]).sum(axis=1)
    clicked_BK = rng.random((slates, PLACES)) < world.by_place[viewer_B, drawn_B]
    weights_BK = place_weights(world.served[viewer_B, drawn_B], world.other[viewer_B, drawn_B])
    rewards_BK = clicked_BK.astype(np.float64)
    return ips(rewards_BK, weights_BK), self_normalised(rewards_BK, weights_BK)


@dataclass(frozen=True)
class Coverage:
    """Of all runs: how many intervals hold the truth, the widest half-width as a share of it, and the least size."""

    held: int
    runs: int
    half_width: float
    effective: float


def coverage(found: list[Estimate], truth: float) -> Coverage:
    """Sum up the estimates of all runs."""
    held = sum(one.low <= truth <= one.high for one in found)
    widest = max((one.high - one.low) / 2 for one in found) / truth
    return Coverage(held, len(found), widest, min(one.effective for one in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--slates", type=int, default=3000, help="logged in each run")
    options = parser.parse_args()
    world = make_world()
    truth, own = world.truth(world.other), world.truth(world.served)
    print(f"clicks a slate [simulated]: served policy {own:.4f}, other policy {truth:.4f}")
    runs = [estimates(world, options.slates, seed) for seed in range(options.runs)]
    figures = []
    for name, found in zip(("ips", "self_normalised"), zip(*runs, strict=True), strict=True):
        own_coverage = coverage(list(found), truth)
        print(
            f"{name}: {own_coverage.held} of {own_coverage.runs} intervals of 95 % hold it, half-widths up to "
            f"{own_coverage.half_width:.1%} of it, effective sample size at least {own_coverage.effective:.0f} "
            f"of {options.slates}"
        )
        held = 100 * own_coverage.held / own_coverage.runs
        figures += [(f"{name}_held_of_100", held, ">= 90"), (f"{name}_half_width", own_coverage.half_width, "<= 0.2")]
    for name, value, goal in figures:
        print(f"ratio {name} {value:.3f} goal {goal}")
    if options.json:
        ratios = [{"name": name, "value": value, "goal": goal} for name, value, goal in figures]
        options.json.write_text(json.dumps({"ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
