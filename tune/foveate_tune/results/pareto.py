"""The Pareto front of several objectives, and its knee.

Shapes: ``T`` trials, ``K`` objectives, each turned so that more is better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def non_dominated(gains_TK: Floats) -> NDArray[np.bool_]:
    """``[T]``: which trials no other one dominates.

    ``a`` dominates ``b`` if ``a_k >= b_k`` for every objective ``k`` and ``a_k > b_k`` for one of them. Equal trials do
    not dominate each other. One with a figure that is not finite is not on the front and dominates nobody.

    Source: Miettinen, Nonlinear multiobjective optimization (1999), definition 2.2.1.
    """
    known_T = np.asarray(np.isfinite(gains_TK).all(axis=1))
    no_worse_TT = (gains_TK[:, None, :] >= gains_TK[None, :, :]).all(axis=2)
    better_TT = (gains_TK[:, None, :] > gains_TK[None, :, :]).any(axis=2)
    dominates_TT = no_worse_TT & better_TT & known_T[:, None]
    return np.asarray(known_T & ~dominates_TT.any(axis=0))


def knee(gains_TK: Floats) -> int | None:
    """Return the place of the front's knee: there, a little more of one objective costs much of another.

    With ``z_k`` an objective brought to 0 to 1 over the front, the knee lies farthest above the plane
    ``z_1 + ... + z_K = 1``, at the distance ``(z_1 + ... + z_K - 1) / sqrt(K)``. Two objectives make that plane the
    line between the front's two ends; more make it the one through the points that are best in one objective and worst
    in all others, so that it is there even where one trial is best in several. An objective that is the same all over
    the front does not count. Ties go to the trial that is better in the first objective, then in the next, then to the
    first one.

    Source: Das, On characterizing the "knee" of the Pareto curve based on normal-boundary intersection (1999),
    section 3, with that plane in place of the convex hull of the individual optima.

    Returns
    -------
    int or None
        None where no trial is on the front.
    """
    front = np.flatnonzero(non_dominated(gains_TK))
    if not len(front):
        return None
    front_FK = gains_TK[front]
    low_K, width_K = front_FK.min(axis=0), np.ptp(front_FK, axis=0)
    z_FK = np.where(width_K > 0, (front_FK - low_K) / np.where(width_K > 0, width_K, 1.0), 0.0)
    # Rounded, so that a tie is one whatever order the sum is taken in.
    above_F = z_FK.sum(axis=1).round(9)
    order = np.lexsort((*(-front_FK.T[::-1]), -above_F))
    return int(front[order[0]])
