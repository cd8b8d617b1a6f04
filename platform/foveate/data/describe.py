"""Statistics of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from foveate.data.dataset import Dataset, StepReport
from foveate.data.importing.report import ImportReport
from foveate.data.schema import EVENT_KINDS, ITEM_ID, KIND, OCCURRED_AT, ORDER, USER_ID

FOLLOWERS, POPULAR, DAYS = 10, 100, 7


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
    predictable
        Share of the viewers whose newest item of interest is among the :data:`FOLLOWERS` that most often followed the
        one before it in what others did; None where no viewer has two.
    popular
        Share of the last seven days' interest that is in the :data:`POPULAR` most popular items of the seven days
        before; None without times, or where the log is shorter than these two weeks.
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
    predictable: float | None
    popular: float | None
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
        predictable=_predictable(liked),
        popular=_popular(liked.filter(pl.col(OCCURRED_AT).is_not_null())),
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


def _predictable(liked: pl.LazyFrame) -> float | None:
    """Return how often a viewer's newest item is one of those that most often follow, their own step left out."""
    then, last = pl.col(ITEM_ID).shift(-1).over(USER_ID), pl.col(ORDER).shift(-1).over(USER_ID)
    ordered = liked.select(USER_ID, ITEM_ID, ORDER).sort(USER_ID, ORDER)
    steps = ordered.with_columns(then.alias("next"), last.alias("at")).filter(pl.col("next") != pl.col(ITEM_ID))
    counts = steps.group_by(ITEM_ID, "next").len()
    most = counts.group_by(ITEM_ID).agg(pl.col("len").top_k(FOLLOWERS + 1).sort(descending=True).alias("most"))
    newest = steps.group_by(USER_ID).agg(pl.col(ITEM_ID, "next").sort_by("at").last())
    asked = newest.join(counts, on=[ITEM_ID, "next"]).join(most, on=ITEM_ID).collect(engine="streaming")
    if not asked.height:
        return None
    # The tenth of the others: what follows the newest item stands among them itself where it is one of the first ten.
    tenth, eleventh = (pl.col("most").list.get(place, null_on_oob=True).fill_null(0) for place in (9, 10))
    others = pl.when(pl.col("len") >= tenth).then(eleventh).otherwise(tenth)
    without_own = pl.col("len") - 1
    return float(asked.select(((without_own > 0) & (without_own >= others)).mean()).item())


def _popular(dated: pl.LazyFrame) -> float | None:
    """Return how much of the last week's interest goes to what was most popular in the week before."""
    at = pl.col(OCCURRED_AT)
    ends = dated.select(at.min().alias("first"), at.max().alias("last")).collect(engine="streaming")
    first, last = ends.row(0)
    if last is None or last - first < 2 * timedelta(days=DAYS):
        return None
    week, before = pl.lit(last) - pl.duration(days=DAYS), pl.lit(last) - pl.duration(days=2 * DAYS)
    counts = dated.filter((at > before) & (at <= week)).group_by(ITEM_ID).len().sort("len", ITEM_ID, descending=True)
    popular = counts.head(POPULAR).select(ITEM_ID, pl.lit(value=True).alias("popular"))
    newest = dated.filter(at > week).join(popular, on=ITEM_ID, how="left")
    share = newest.select(pl.col("popular").fill_null(value=False).mean()).collect(engine="streaming")
    return float(share.item())
