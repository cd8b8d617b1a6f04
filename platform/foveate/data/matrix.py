"""Interactions and the sparse viewer-video matrix, derived from events."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import sparse

from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, ITEM_ID, KIND, OCCURRED_AT, ORDER, USER_ID
from foveate.data.signals import Signals


def interaction_matrix(events: Events, *, positive_only: bool = False) -> sparse.csr_matrix:
    """Return how much each viewer cares for each item.

    Parameters
    ----------
    events
        Their weights are the signals' (:class:`foveate.data.signals.Signals`); a viewer's events on one item add up.
    positive_only
        Whether only events that count as interest are added; else dislikes count against.

    Returns
    -------
    csr_matrix
        ``[U, I]`` float32, items ascending in each row; pairs that weigh nothing are not stored.
    """
    kept = events.take(events.positive) if positive_only else events
    shape = (events.n_users, events.n_items)
    matrix = sparse.csr_matrix((kept.weight, (kept.user, kept.item)), shape=shape, dtype=np.float32)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def interactions(events: pl.LazyFrame, signals: Signals) -> pl.LazyFrame:
    """Return one row for each viewer and item that met, derived from the table of events.

    Columns: the two ids, ``events`` (how many), ``weight`` (the signals' sum), ``first_at`` and ``last_at`` (null
    where no event has a time), ``first_order`` and ``last_order``.
    """
    weights = (
        pl.col(KIND)
        .cast(pl.String)
        .replace_strict({kind: signals.weights.get(kind, 0.0) for kind in EVENT_KINDS}, return_dtype=pl.Float32)
    )
    return events.group_by(USER_ID, ITEM_ID).agg(
        pl.len().alias("events"),
        weights.sum().alias("weight"),
        pl.col(OCCURRED_AT).min().alias("first_at"),
        pl.col(OCCURRED_AT).max().alias("last_at"),
        pl.col(ORDER).min().alias("first_order"),
        pl.col(ORDER).max().alias("last_order"),
    )
