"""What Foveate itself has served, as 'foveate log export' writes it: impressions, and the events that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import polars as pl

from foveate.core.errors import ConfigError
from foveate.data.importing.contacts import AMOUNTS, SHOWN
from foveate.data.raw.table import frame_table
from foveate.data.readers.base import NO_ITEMS, ItemTable, LogFile, Reader, Source
from foveate.data.readers.convert import Column, Finish
from foveate.data.schema import (
    EVENT_ID,
    EVENT_KINDS,
    ITEM_ID,
    KIND,
    LONG_VIEW,
    OCCURRED_AT,
    RATE,
    USER_ID,
    VALUE,
    WATCH,
)
from foveate.data.served.chain import HEAD, ITEMS_FILE, Part, check_part, parts_of, read_chain, read_head
from foveate.data.served.columns import COLUMNS, SEQUENCE, Table
from foveate.data.values.base import Parsed

_INTEREST: Final = (LONG_VIEW, "like", "click", WATCH, RATE)
"""What counts as interest where no setting says it: the first of these that the log holds."""


@dataclass(frozen=True)
class AsExported:
    """Takes a column as it was exported: it has its type already."""

    about: str = "as served"
    expects: str = "what an export writes"

    def parse(self, raw: pl.Series) -> Parsed:
        """See :meth:`foveate.data.values.base.Parser.parse`."""
        return Parsed(raw)


_AS_IT_IS: Final = AsExported()
_OURS: Final[dict[Table, dict[str, str]]] = {
    "impressions": {
        USER_ID: USER_ID,
        ITEM_ID: ITEM_ID,
        "shown_at": OCCURRED_AT,
        "impression_id": "impression_id",
        "request_id": "request_id",
        "position": "position",
        "surface": "surface",
        "bundle_id": "bundle_id",
        "policy_id": "policy_id",
        "policy": "policy",
        "propensity": "propensity",
        "feature_schema": "feature_schema",
        "features": "features",
        "candidate_sources": "candidate_sources",
    },
    "events": {
        USER_ID: USER_ID,
        ITEM_ID: ITEM_ID,
        OCCURRED_AT: OCCURRED_AT,
        EVENT_ID: EVENT_ID,
        "impression_id": "impression_id",
        KIND: KIND,
        VALUE: VALUE,
        "text": "text",
        "received_at": "received_at",
    },
}
"""What becomes of the columns of a part; a part's other columns are for those who read it otherwise."""


@dataclass(frozen=True, kw_only=True)
class ServedReader(Reader):
    """Reads the folder of a served log: every part that its chain names.

    The policy of an impression is the randomised one that filled its place, or else that of the slate. Impressions of
    anonymous visitors are those of the viewer whose events name them; others have no viewer and are left out.

    Parameters
    ----------
    positive
        Kinds of events that count as interest; empty takes the first of ``long_view``, ``like``, ``click``, ``watch``
        and ``rate`` that the log holds.
    """

    name: ClassVar[str] = "served"

    positive: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.positive) - set(EVENT_KINDS))
        if unknown:
            raise ConfigError(f"positive: unknown event kind '{unknown[0]}'. Known: {', '.join(EVENT_KINDS)}.")

    @classmethod
    def fits(cls, root: Path) -> bool:
        """See :meth:`Reader.fits`."""
        return root.is_dir() and (root / HEAD).is_file()

    def read(self, root: Path) -> Source:
        """See :meth:`Reader.read`."""
        head, parts = read_head(root), parts_of(read_chain(root))
        for part in parts:
            check_part(root, part)
        viewers = _viewers_of_sessions(root, parts)
        finish: dict[Table, Finish] = {"impressions": lambda frame: _impressions(frame, viewers), "events": _events}
        # Impressions first: an event of the same moment stands behind what it answers.
        ordered = [part for table in COLUMNS for part in parts if part.table == table]
        return Source(
            tuple(_log(root, part, finish[part.table]) for part in ordered),
            self.positive or _interest(root, parts),
            self.errors(),
            items=ItemTable(pl.read_parquet(root / ITEMS_FILE)) if (root / ITEMS_FILE).is_file() else NO_ITEMS,
            same=("impression_id", EVENT_ID),
            own_event_ids=True,
            own_impression_ids=True,
            name=head.name,
        )


def _log(root: Path, part: Part, finish: Finish) -> LogFile:
    # One whose rows arrived in another order, as a server's do, is put in the order of arrival.
    frame = pl.scan_parquet(root / part.path, schema=COLUMNS[part.table], missing_columns="insert").sort(SEQUENCE)
    columns = tuple(Column(ours, theirs, _AS_IT_IS) for theirs, ours in _OURS[part.table].items())
    return LogFile(frame_table(frame, part.path, "a part of a served log"), columns, finish, digest=part.sha256)


def _impressions(frame: pl.DataFrame, viewers: pl.DataFrame) -> pl.DataFrame:
    named = frame.join(viewers, on="request_id", how="left", maintain_order="left")
    return named.with_columns(
        pl.coalesce(USER_ID, "session_of").alias(USER_ID),
        pl.coalesce("policy", "policy_id").alias("policy_id"),
        pl.lit(value=True).alias(SHOWN),
    ).drop("policy", "session_of")


def _events(frame: pl.DataFrame) -> pl.DataFrame:
    """Give each kind a column of its own: an amount, or whether it happened."""
    value, kind = pl.col(VALUE).cast(pl.Float32), pl.col(KIND)
    happened = [
        (pl.when(kind == name).then(value) if name in AMOUNTS else kind == name).alias(name) for name in EVENT_KINDS
    ]
    return frame.with_columns(happened).drop(KIND)


def _viewers_of_sessions(root: Path, parts: Sequence[Part]) -> pl.DataFrame:
    """Return whose the requests are that events name, the first viewer of each: ``request_id``, ``session_of``."""
    files = [root / part.path for part in parts if part.table == "events"]
    if not files:
        return pl.DataFrame(schema={"request_id": pl.String(), "session_of": pl.String()})
    return (
        pl.scan_parquet(files, schema=COLUMNS["events"], missing_columns="insert")
        .filter(pl.col("impression_id").is_not_null(), pl.col("request_id").is_not_null())
        .sort(SEQUENCE)
        .group_by("request_id", maintain_order=True)
        .agg(pl.col(USER_ID).first().alias("session_of"))
        .collect()
    )


def _interest(root: Path, parts: Sequence[Part]) -> tuple[str, ...]:
    files = [root / part.path for part in parts if part.table == "events"]
    kinds = set(pl.scan_parquet(files).select(pl.col(KIND).unique()).collect()[KIND]) if files else set()
    return next(((kind,) for kind in _INTEREST if kind in kinds), (_INTEREST[0],))
