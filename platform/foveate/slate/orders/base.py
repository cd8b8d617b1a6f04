"""The seam of list orders.

Shapes: ``N`` ranked candidates, ``I`` items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.registry import Registry, Variant
from foveate.data.catalog import Catalog

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Listed:
    """The candidates of one viewer and what is known of them.

    Parameters
    ----------
    items, scores
        ``[N]`` int32 item codes and the ranker's float32 scores.
    catalog
        The items.
    click_through
        ``[I]`` share of its showings that each item was clicked in; None where no order asked for it in training.
    """

    items: NDArray[np.int32]
    scores: Floats
    catalog: Catalog
    click_through: Floats | None = None


class ListOrder(Variant):
    """Base of the orders; each file of this package that defines one adds an order.

    What an order says takes the place of relevance: policies, caps and rules work on it as they do on scores.
    """

    variants: ClassVar[Registry[ListOrder]]
    needs_click_through: ClassVar[bool] = False
    """Whether training has to count clicks and showings for it."""

    def relevance(self, listed: Listed) -> Floats:
        """Return ``[N]``, higher is earlier; what is not finite comes last."""
        raise NotImplementedError


ListOrder.variants = Registry("order", ListOrder, "foveate.slate.orders")


def by_rank(values_N: NDArray[np.floating], scores_N: Floats) -> Floats:
    """Return ``[N]`` each candidate's place from the end, by value and, where that is equal, by score.

    Places rather than values, so that a policy's strength means the same whatever the values are. A value that is not
    known lies below every other; what ties in both shares a place.
    """
    keys_2N = np.stack([np.nan_to_num(own.astype(np.float64), nan=-np.inf) for own in (values_N, scores_N)])
    order_N = np.lexsort(keys_2N[::-1])
    ordered_2N = keys_2N[:, order_N]
    steps = (ordered_2N[:, 1:] != ordered_2N[:, :-1]).any(axis=0)
    out_N = np.empty(len(order_N), dtype=np.float32)
    out_N[order_N] = np.concatenate([[0], np.cumsum(steps)])[: len(order_N)]
    return out_N
