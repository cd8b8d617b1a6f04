"""A log as arrays, read in a stream: ids become codes on the way, so that no column of texts is ever held whole.

Shapes: ``E`` events, ``U`` viewers, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.errors import DataError
from foveate.core.messages import NO_TIME
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.events import Events, Histories
from foveate.data.log import COLUMNS
from foveate.data.schema import EVENT_KINDS, ITEM_ID, KIND, OCCURRED_AT, ORDER, USER_ID, VALUE
from foveate.data.signals import Signals
from foveate.data.vocabulary import Vocabulary

_USER, _ITEM = "user", "item"
_NEVER_NULL = (USER_ID, ITEM_ID, KIND, ORDER)


def read_events(
    dataset: Dataset,
    items: Vocabulary,
    signals: Signals,
    positive: Sequence[str] = (),
    *,
    rank: int = 0,
    n_workers: int = 1,
) -> Events:
    """Return the events of a dataset as :meth:`foveate.data.log.InteractionLog.encode` returns them.

    Parameters
    ----------
    items
        Events of others are left out.
    positive
        Kinds that count as interest where ``signals`` names none: the dataset manifest's ``positive_kinds``.
    rank, n_workers
        Which viewers' events are read: those whose codes leave ``rank`` when divided by ``n_workers``.

    Raises
    ------
    SchemaError
        A column is null where it may not be.
    DataError
        No kind counts as interest.
    """
    positive = signals.positive or positive
    if not positive:
        raise DataError("no event kind counts as interest: set signals.positive, such as [click]")
    viewers, log = dataset.viewers[USER_ID], dataset.events.select(list(COLUMNS))
    _check_nulls(dataset, log)
    users = pl.LazyFrame({USER_ID: viewers, _USER: np.arange(len(viewers), dtype=np.int32)})
    codes = pl.LazyFrame({ITEM_ID: pl.Series(items.ids, dtype=pl.String), _ITEM: np.arange(len(items), dtype=np.int32)})
    read = (
        log.join(users.filter(pl.col(_USER) % n_workers == rank), on=USER_ID, how="inner", maintain_order="left")
        .join(codes, on=ITEM_ID, how="inner", maintain_order="left")
        .select(
            _USER,
            _ITEM,
            pl.col(KIND).to_physical().cast(pl.Int8),
            pl.col(VALUE).fill_null(1.0),
            pl.col(OCCURRED_AT).dt.timestamp("us").fill_null(NO_TIME),
            ORDER,
        )
        .collect(engine="streaming")
    )
    if dataset.manifest.growth:
        # What came later may have happened earlier; what has no time lies before all that has one.
        read = read.sort(_USER, OCCURRED_AT, ORDER, maintain_order=True)
        read = read.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ORDER))
    return _sorted(read, signals, positive, len(viewers), len(items))


def _check_nulls(dataset: Dataset, log: pl.LazyFrame) -> None:
    nulls = log.select(pl.col(*_NEVER_NULL).null_count()).collect(engine="streaming")
    if any(nulls.row(0)):
        # It says which columns, and how many rows.
        dataset.log()


def _sorted(read: pl.DataFrame, signals: Signals, positive: Sequence[str], n_users: int, n_items: int) -> Events:
    """Sort by viewer and order, one column after another, so that a second copy of all is never held."""
    user, order = read[_USER].to_numpy(), read[ORDER].to_numpy()
    follows = (user[1:] != user[:-1]) | (order[1:] > order[:-1])
    # Parts are sorted by a viewer's id, each viewer whole in one: only viewers have to be put in order then.
    rows = np.argsort(user, kind="stable") if follows.all() else np.lexsort((order, user))
    del user, order, follows
    columns = {name: read.drop_in_place(name).to_numpy()[rows] for name in (_USER, _ITEM, KIND, VALUE, OCCURRED_AT)}
    kind = columns[KIND]
    weights = np.array([signals.weights.get(name, 0.0) for name in EVENT_KINDS], dtype=np.float32)
    return Events(
        user=columns[_USER],
        item=columns[_ITEM],
        kind=kind,
        value=columns[VALUE],
        weight=weights[kind],
        positive=np.array([name in positive for name in EVENT_KINDS])[kind],
        time=columns[OCCURRED_AT],
        n_users=n_users,
        n_items=n_items,
    )


@dataclass(frozen=True)
class LogPart:
    """Where a process reads the histories of its own viewers, each up to the cut of one window.

    Parameters
    ----------
    path
        The dataset's folder; it has to be the same on every node.
    signals, positive
        As :func:`read_events` takes them.
    kept_U
        int64 how many of each viewer's events, the oldest, lie before the cut.
    """

    path: Path
    signals: Signals
    positive: tuple[str, ...]
    kept_U: NDArray[np.int64]

    @classmethod
    def of(
        cls, dataset: Dataset, events: Events, history: Events, signals: Signals, positive: tuple[str, ...]
    ) -> LogPart | None:
        """Return where to read ``history`` of ``events``; None where it cannot be read again from a folder.

        That is so where the dataset lies in no folder, or where times contradict the order, so that some viewer's
        events before the cut are not their oldest ones.
        """
        kept_U = np.diff(history.offsets())
        if dataset.path is None or not np.array_equal(events.take(_oldest(events, kept_U)).time, history.time):
            return None
        return cls(dataset.path.resolve(), signals, positive, kept_U)

    @classmethod
    def whole(cls, dataset: Dataset, signals: Signals) -> LogPart:
        """Return where to read all of a dataset in a folder, without having read any of it.

        Raises
        ------
        DataError
            The dataset lies in no folder.
        """
        if dataset.path is None:
            raise DataError("this dataset lies in no folder that others could read: write it to one")
        kept_U = np.full(len(dataset.viewers), np.iinfo(np.int64).max)
        return cls(dataset.path.resolve(), signals, dataset.manifest.positive_kinds, kept_U)

    def histories(self, catalog: Catalog, rank: int, n_workers: int) -> Histories:
        """Read what one of several processes holds: the histories of every ``n_workers``-th viewer."""
        dataset = open_dataset(self.path)
        events = read_events(dataset, catalog.items, self.signals, self.positive, rank=rank, n_workers=n_workers)
        return events.take(_oldest(events, self.kept_U)).histories(catalog.duration)


def _oldest(events: Events, kept_U: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``[E]``: whether an event is among so many oldest ones of its viewer."""
    return np.arange(len(events)) - events.offsets()[events.user] < kept_U[events.user]
