"""What another policy would have earned, from slates that were drawn with known odds.

A place of the log counts as often as the other policy shows it more: by the odds of all places down to it under the
other policy, over those under the policy that was served. Rewards of a place may depend on the places above it, and not
on those below. The served policy must be able to show whatever the other one shows: where it could not, nothing in the
log says what would have come of it.

Shapes: ``B`` slates, ``K`` places.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import DataError

LEVEL: Final = 0.95

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Mean reward of a slate under another policy.

    Parameters
    ----------
    value, low, high
        The mean, and its interval by the normal distribution.
    effective
        Size of a log of the other policy's own that would say about as much: the square of the sum of the weights over
        the sum of their squares, at the place where it is least.
    slates
        How many were logged.
    """

    value: float
    low: float
    high: float
    effective: float
    slates: int


def place_weights(served: Doubles, other: Doubles) -> Doubles:
    """Return ``[B, K]`` how much each place counts.

    Parameters
    ----------
    served
        ``[B, K]`` the propensities that were logged, NaN for a place that was not drawn.
    other
        ``[B, K]`` the odds by which the other policy shows the same items at the same places, given the places above;
        ``SlatePolicy.odds`` returns a row.

    Raises
    ------
    DataError
        The shapes differ, or something is no probability.
    """
    if served.shape != other.shape or served.ndim != 2:
        raise DataError(f"propensities of shape {served.shape} and odds of shape {other.shape}: give one row a slate")
    own = np.where(np.isnan(served), 1.0, served)
    if not ((own > 0) & (own <= 1)).all() or not ((other >= 0) & (other <= 1)).all():
        raise DataError("a propensity must lie above 0 and up to 1, and odds between 0 and 1")
    return np.asarray(np.cumprod(other / own, axis=1), dtype=np.float64)


def ips(rewards: Doubles, weights: Doubles, level: float = LEVEL) -> Estimate:
    """Estimate by inverse propensities: without bias, and with much variance where weights are large.

    Sources: Owen, Monte Carlo theory, methods and examples, sections 9.1 and 9.3 (the estimate, the effective sample
    size); Precup, Sutton and Singh, Eligibility traces for off-policy policy evaluation (ICML 2000), per-decision
    importance sampling (weights down to each place).

    Parameters
    ----------
    rewards
        ``[B, K]`` of each place.
    weights
        ``[B, K]`` by :func:`place_weights`.

    Raises
    ------
    DataError
        There are fewer than two slates, or the shapes differ.
    """
    _check(rewards, weights)
    sums_B = (rewards * weights).sum(axis=1)
    return _estimate(float(sums_B.mean()), sums_B - sums_B.mean(), weights, level)


def self_normalised(rewards: Doubles, weights: Doubles, level: float = LEVEL) -> Estimate:
    """Estimate by inverse propensities over the sum of the weights: a little bias for less variance.

    Sources: Owen, section 9.2 (the estimate and the variance of a ratio); Swaminathan and Joachims, The self-normalized
    estimator for counterfactual learning (NIPS 2015), section 5. Parameters and errors are those of :func:`ips`.
    """
    _check(rewards, weights)
    mean_K = weights.mean(axis=0)
    # Where no weight is left nothing is known of a place; it counts as without reward.
    scaled = np.divide(weights, mean_K, out=np.zeros_like(weights), where=mean_K > 0)
    value_K = (rewards * scaled).mean(axis=0)
    return _estimate(float(value_K.sum()), (scaled * (rewards - value_K)).sum(axis=1), weights, level)


def _check(rewards: Doubles, weights: Doubles) -> None:
    if rewards.shape != weights.shape or rewards.ndim != 2 or len(rewards) < 2:
        raise DataError(
            f"rewards of shape {rewards.shape} and weights of shape {weights.shape}: give two slates or more"
        )


def _estimate(value: float, residuals_B: Doubles, weights: Doubles, level: float) -> Estimate:
    count = len(weights)
    half = NormalDist().inv_cdf(0.5 + level / 2) * sqrt(float((residuals_B**2).sum()) / (count * (count - 1)))
    squares_K = (weights**2).sum(axis=0)
    effective_K = np.divide(weights.sum(axis=0) ** 2, squares_K, out=np.zeros_like(squares_K), where=squares_K > 0)
    return Estimate(value, value - half, value + half, float(effective_K.min()), count)
