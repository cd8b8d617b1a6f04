"""Following an erasure in a served log: parts that hold the viewer are written anew without them; the old ones go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from foveate.core.grouped import in_parts
from foveate.data.schema import USER_ID
from foveate.data.served.chain import Link, Part, check_signed, commit, parts_of, read_chain, remove_strays
from foveate.data.served.columns import COLUMNS
from foveate.served_log.parts import PartWriter
from foveate.served_log.pseudonyms import Pseudonyms
from foveate.state.base import request_of


def follow(
    folder: Path, erasures: Sequence[tuple[str, str]], names: Pseudonyms | None, secret: bytes, now: int
) -> tuple[Link | None, int]:
    """Write the parts that hold erased viewers anew, in one change; whoever calls holds the folder's lock.

    Rows of anonymous visitors go where an erased viewer's events name their request.

    Parameters
    ----------
    erasures
        Their ids, each with its viewer's.
    names
        The pseudonyms of the folder.
    secret
        Of the store, for the signature.
    now
        UTC microseconds.

    Returns
    -------
    link, rows
        The change, None where no part held any of the viewers, and how many rows went.

    Raises
    ------
    ReaderError
        The chain is damaged, or was not made with this store.
    StorageError
        The disk is full.
    """
    links = read_chain(folder)
    check_signed(folder, links, secret)
    remove_strays(folder, links)
    parts = parts_of(links)
    viewers = [user_id if names is None else names.of(user_id) for _, user_id in erasures]
    sessions = _sessions(folder, parts, viewers)
    writer = PartWriter(folder, len(links) + 1)
    removed: list[str] = []
    rows = 0
    for part in parts:
        frame = pl.read_parquet(folder / part.path)
        theirs = pl.col(USER_ID).is_in(viewers)
        if part.table == "impressions":
            theirs |= pl.col(USER_ID).is_null() & pl.col("request_id").is_in(sessions)
        gone = frame.select(theirs.fill_null(value=False).alias("gone")).to_series()
        if not gone.any():
            continue
        removed.append(part.path)
        rows += int(gone.sum())
        left = frame.filter(~gone)
        if left.height:
            writer.frame(part.table, part.date, left)
    if not removed:
        return None, 0
    last = links[-1]
    link = Link(
        number=len(links) + 1,
        previous=last.digest,
        made_at=now,
        reason="erasure",
        cursors=last.cursors,
        added=writer.finish(),
        removed=tuple(removed),
        erasures=tuple(erasure_id for erasure_id, _ in erasures),
    ).signed(secret)
    commit(folder, link)
    remove_strays(folder, [*links, link])
    return link, rows


def _sessions(folder: Path, parts: Sequence[Part], viewers: Sequence[str]) -> list[str]:
    """Return the requests that events of these viewers name."""
    named: set[str] = set()
    events = [folder / part.path for part in parts if part.table == "events"]
    for files in in_parts(events, 100):
        found = (
            pl.scan_parquet(files, schema=COLUMNS["events"])
            .filter(pl.col(USER_ID).is_in(viewers))
            .select("impression_id", "request_id")
            .collect()
        )
        named.update(request_of(one) for one in found["impression_id"].drop_nulls())
        named.update(found["request_id"].drop_nulls())
    return sorted(named)
