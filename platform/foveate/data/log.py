"""The interactions view: one validated frame of who did what to which item, in order."""

from __future__ import annotations

import numpy as np
import polars as pl

from foveate.core.errors import DataError, SchemaError
from foveate.core.messages import NO_TIME
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, ITEM_ID, KIND, KIND_DTYPE, OCCURRED_AT, ORDER, TIMESTAMP, USER_ID, VALUE
from foveate.data.signals import Signals
from foveate.data.vocabulary import UNKNOWN, Vocabulary

COLUMNS = {
    USER_ID: pl.String(),
    ITEM_ID: pl.String(),
    KIND: KIND_DTYPE,
    VALUE: pl.Float32(),
    OCCURRED_AT: TIMESTAMP,
    ORDER: pl.Int64(),
}


class InteractionLog:
    """Events of all viewers, sorted by viewer and order.

    Parameters
    ----------
    frame
        Columns of :data:`COLUMNS`, others are dropped. ``order`` is total for each viewer and agrees with
        ``occurred_at``.

    Raises
    ------
    SchemaError
        Columns are missing, of another type, or null where they may not be; all faults are listed at once.
    """

    def __init__(self, frame: pl.DataFrame) -> None:
        faults = _faults(frame)
        if faults:
            raise SchemaError("interactions", faults)
        self.frame = frame.select(list(COLUMNS)).sort(USER_ID, ORDER, maintain_order=True)

    def __len__(self) -> int:
        return self.frame.height

    def before(self, cut: int) -> InteractionLog:
        """Keep what happened before ``cut`` (UTC microseconds); events without a time lie before every dated one."""
        when = pl.col(OCCURRED_AT).dt.timestamp("us")
        return self._keep(pl.col(OCCURRED_AT).is_null() | (when < cut))

    def encode(self, users: Vocabulary, items: Vocabulary, signals: Signals, positive: tuple[str, ...] = ()) -> Events:
        """Return the events as arrays, leaving out those of users or items that the vocabularies do not hold.

        Parameters
        ----------
        positive
            Kinds that count as interest where ``signals`` names none: the dataset manifest's ``positive_kinds``.

        Raises
        ------
        DataError
            Neither names a positive kind.
        """
        positive = signals.positive or positive
        if not positive:
            raise DataError("no event kind counts as interest: set signals.positive, such as [click]")
        kind = self.frame[KIND].to_physical().cast(pl.Int8).to_numpy()
        weights = np.array([signals.weights.get(name, 0.0) for name in EVENT_KINDS], dtype=np.float32)
        is_positive = np.array([name in positive for name in EVENT_KINDS])
        user, item = users.encode(self.frame[USER_ID]), items.encode(self.frame[ITEM_ID])
        events = Events(
            user=user,
            item=item,
            kind=kind,
            value=self.frame[VALUE].fill_null(1.0).to_numpy(),
            weight=weights[kind],
            positive=is_positive[kind],
            time=self.frame[OCCURRED_AT].dt.timestamp("us").fill_null(NO_TIME).to_numpy(),
            n_users=len(users),
            n_items=len(items),
        )
        known = np.flatnonzero((user != UNKNOWN) & (item != UNKNOWN))
        return events.take(known[np.argsort(user[known], kind="stable")])

    def _keep(self, predicate: pl.Expr) -> InteractionLog:
        kept = object.__new__(InteractionLog)
        kept.frame = self.frame.filter(predicate)
        return kept


def _faults(frame: pl.DataFrame) -> list[str]:
    faults = []
    for name, dtype in COLUMNS.items():
        if name not in frame.columns:
            faults.append(f"column '{name}' is missing")
        elif frame.schema[name] != dtype:
            faults.append(f"column '{name}' is {frame.schema[name]}, expected {dtype}")
        elif name in (USER_ID, ITEM_ID, KIND, ORDER) and (nulls := frame[name].null_count()):
            faults.append(f"column '{name}' is null in {nulls} of {frame.height} rows")
    return faults
