"""Measures of an audit, over arrays.

Shapes: ``B`` viewers, ``K`` places of a list (filled with ``-1``), ``I`` items, ``C`` categories, ``H`` items of all
histories, ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.metrics import Floats, Sums
from foveate.data.catalog import Catalog
from foveate.data.vocabulary import UNKNOWN

Ints = NDArray[np.integer]
Names = tuple[str, ...]

ALPHA = 0.01
"""How much of a viewer's own mix is blended into a slate's."""

DECILES = 10
HEAD_SHARE = 0.2
"""The most popular items that take this share of the catalogue are the mainstream."""

ACTIVITY: Names = ("light", "medium", "heavy")
TASTE: Names = ("niche", "diverse", "mainstream")


@dataclass(frozen=True)
class Histories:
    """What each viewer liked: viewer ``b`` owns ``items[offsets[b]:offsets[b + 1]]``."""

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """``[B]``: how much each liked."""
        return np.diff(self.offsets)

    def mean(self, values_I: Floats) -> Floats:
        """``[B]``: mean of a fact of the items over each history, NaN for an empty one."""
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        sums = np.bincount(rows, values_I[self.items], len(self.counts))
        return np.where(self.counts > 0, sums / np.maximum(self.counts, 1), np.nan)


def list_mean(lists_BK: Ints, values_I: Floats) -> Floats:
    """``[B]``: mean of a fact of the items over each list, NaN for an empty one."""
    filled_BK = lists_BK >= 0
    counts_B = filled_BK.sum(axis=1)
    sums_B = np.where(filled_BK, values_I[lists_BK], 0.0).sum(axis=1)
    return np.where(counts_B > 0, sums_B / np.maximum(counts_B, 1), np.nan)


def lift(shown_B: Floats, liked_B: Floats) -> float:
    """Return by how much of itself a group's average popularity grows from what it liked to what it is shown.

    0 is no bias; 1 says that what is shown is twice as popular as what is liked.
    Source: Abdollahpouri et al. (2019), section 4, the change of the group average popularity.
    """
    both_B = np.isfinite(shown_B) & np.isfinite(liked_B)
    return Sums(shown_B[both_B], liked_B[both_B]).value() - 1.0


def miscalibration(shown_BC: Floats, liked_BC: Floats) -> Floats:
    """Return ``[B]`` the divergence ``KL(p || q~)`` of a slate's mix of categories from its viewer's, in nats.

    ``p`` is the mix of what the viewer liked and ``q~`` that of the slate with a hundredth of ``p`` blended in, so
    that it stays finite. 0 is the same mix; NaN for a viewer or a slate without categories.
    Source: Steck, Calibrated recommendations (RecSys 2018), section 3.
    """
    blended_BC = (1.0 - ALPHA) * shown_BC + ALPHA * liked_BC
    has_BC = liked_BC > 0
    terms_BC = np.where(
        has_BC, liked_BC * np.log(np.where(has_BC, liked_BC, 1.0) / np.where(has_BC, blended_BC, 1.0)), 0
    )
    known_B = (shown_BC.sum(axis=1) > 0) & has_BC.any(axis=1)
    return np.where(known_B, terms_BC.sum(axis=1), np.nan)


def mix_of_lists(lists_BK: Ints, shares_IC: sparse.csr_matrix) -> Floats:
    """Return ``[B, C]`` the share of each category in each list, an item of several counting for each in parts."""
    rows, columns = np.nonzero(lists_BK >= 0)
    return _mix(rows, lists_BK[rows, columns], len(lists_BK), shares_IC)


def mix_of_histories(histories: Histories, shares_IC: sparse.csr_matrix) -> Floats:
    """Return ``[B, C]`` the share of each category in what each viewer liked."""
    rows = np.repeat(np.arange(len(histories.counts)), histories.counts)
    return _mix(rows, histories.items, len(histories.counts), shares_IC)


def _mix(rows: Ints, items: Ints, n: int, shares_IC: sparse.csr_matrix) -> Floats:
    picks = sparse.csr_matrix((np.ones(len(rows)), (rows, items)), shape=(n, shares_IC.shape[0]))
    weights_BC = np.asarray((picks @ shares_IC).todense(), dtype=np.float64)
    total_B1 = weights_BC.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights_BC, total_B1, out=np.zeros_like(weights_BC), where=total_B1 > 0))


def channel_decile(catalog: Catalog) -> NDArray[np.int64]:
    """Return ``[I]`` the decile of each item's channel by size, 0 the smallest, ``-1`` for an item without a channel.

    A channel's size is the number of its items in the catalogue; each decile holds as many channels, up to one.
    """
    channel = catalog.channel
    sizes = np.bincount(channel[channel != UNKNOWN], minlength=len(catalog.channels))
    place = np.empty(len(sizes), dtype=np.int64)
    place[np.argsort(sizes, kind="stable")] = np.arange(len(sizes))
    decile = place * DECILES // max(1, len(sizes))
    return np.append(decile, -1)[channel]


def exposure(items: Ints, group_I: NDArray[np.int64], n_groups: int) -> Floats:
    """Return ``[G]`` the share of ``items`` (repeated as often as they are shown) that is of each group."""
    group = group_I[items]
    counts = np.bincount(group[group >= 0], minlength=n_groups)
    return np.asarray(counts / max(1, counts.sum()))


def by_activity(histories: Histories) -> NDArray[np.int64]:
    """Return ``[B]`` positions in :data:`ACTIVITY`: thirds of the viewers by how much they liked."""
    return _thirds(histories.counts.astype(np.float64))


def by_taste(histories: Histories, popularity_I: Floats) -> NDArray[np.int64]:
    """Return ``[B]`` positions in :data:`TASTE`: thirds of the viewers by how much of what they liked is mainstream.

    Mainstream are the most popular fifth of the items. Who liked nothing is in no group: ``-1``.
    Source: Abdollahpouri et al. (2019), section 3, with thirds for the outer fifths and the rest.
    """
    head = np.zeros(len(popularity_I))
    head[np.argsort(-popularity_I, kind="stable")[: max(1, round(HEAD_SHARE * len(head)))]] = 1.0
    return _thirds(histories.mean(head))


def _thirds(values_B: Floats) -> NDArray[np.int64]:
    known = np.flatnonzero(np.isfinite(values_B))
    group = np.full(len(values_B), -1, dtype=np.int64)
    order = known[np.argsort(values_B[known], kind="stable")]
    group[order] = np.arange(len(order)) * 3 // max(1, len(order))
    return group
