"""Statistics of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from foveate.data.dataset import Dataset, StepReport
from foveate.data.importing.report import ImportReport
from foveate.data.schema import EVENT_KINDS, ITEM_ID, KIND, OCCURRED_AT, USER_ID


@dataclass(frozen=True)
class Description:
    """Counts of a dataset.

    Parameters
    ----------
    title
        Names the data with its hash, and says so where it is simulated.
    rows
        Row count by table.
    active_viewers, met_items
        Viewers with an event, and items that one of them met.
    pairs
        Distinct (viewer, item) pairs among the events.
    sparsity
        Share of the active viewers' and met items' pairs that never met.
    repeated
        Share of the events of interest that repeat an earlier pair of viewer and item.
    tied
        Share of the dated events of interest that have the time of an earlier one of their viewer; None without times.
    kinds
        Events of each kind.
    undated
        Events without a time.
    first, last
        Time range of the events, UTC microseconds; None where none has a time.
    source
        What the import did with the files; None where there was none.
    """

    title: str
    reader: str
    simulated: bool
    rows: dict[str, int]
    active_viewers: int
    met_items: int
    pairs: int
    sparsity: float
    repeated: float
    tied: float | None
    kinds: dict[str, int]
    undated: int
    first: int | None
    last: int | None
    positive_kinds: tuple[str, ...]
    cleaning: tuple[StepReport, ...]
    source: ImportReport | None


def describe(dataset: Dataset) -> Description:
    """Count a dataset's events without reading them all into memory."""
    events, manifest = dataset.events, dataset.manifest
    kinds = events.group_by(KIND).agg(pl.len(), pl.col(OCCURRED_AT).null_count().alias("undated"))
    counted = kinds.collect(engine="streaming")
    by_kind = dict(counted.select(pl.col(KIND).cast(pl.String), "len").iter_rows())
    pairs = events.select(USER_ID, ITEM_ID).unique()
    sizes = pairs.select(pl.len(), pl.col(USER_ID).n_unique(), pl.col(ITEM_ID).n_unique())
    met, viewers, items = sizes.collect(engine="streaming").row(0)
    liked = events.filter(pl.col(KIND).cast(pl.String).is_in(manifest.positive_kinds))
    return Description(
        title=dataset.title,
        reader=manifest.reader,
        simulated=manifest.simulated,
        rows=manifest.rows,
        active_viewers=viewers,
        met_items=items,
        pairs=met,
        sparsity=1 - met / max(1, viewers * items),
        repeated=_repeated(liked.select(USER_ID, ITEM_ID)) or 0.0,
        tied=_repeated(liked.filter(pl.col(OCCURRED_AT).is_not_null()).select(USER_ID, OCCURRED_AT)),
        kinds={kind: by_kind[kind] for kind in EVENT_KINDS if kind in by_kind},
        undated=int(counted["undated"].sum()),
        first=manifest.first,
        last=manifest.last,
        positive_kinds=manifest.positive_kinds,
        cleaning=manifest.cleaning,
        source=manifest.source,
    )


def _repeated(rows: pl.LazyFrame) -> float | None:
    """Return the share of rows that are like an earlier one; None without rows."""
    counts = rows.select(pl.len(), pl.struct(pl.all()).n_unique().alias("distinct"))
    count, distinct = counts.collect(engine="streaming").row(0)
    return 1 - distinct / count if count else None
