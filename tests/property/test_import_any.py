"""Any log comes out of an import sorted, dense and without duplicates, as a plain loop would do it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from foveate.core.errors import DataError
from foveate.data.importing import spool
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers import base
from foveate.data.readers.table import TableReader

IDS = st.sampled_from(["a", " a", "A", "é", "1", "1.0", "01", "a-much-longer-id-than-twelve-bytes"])
ROWS = st.lists(
    st.tuples(IDS, IDS, st.one_of(st.none(), st.integers(1, 4)), st.sampled_from([None, 1.0, 2.0])),
    min_size=1,
    max_size=40,
)


def expected(rows: list[tuple[str, str, int | None, float | None]]) -> dict[str, list[tuple[str, float]]]:
    """Return each viewer's watches: undated first, then by time, ties in file order, repeats of a moment once."""
    kept: dict[str, list[tuple[int, int, str, float | None]]] = {}
    met = set()
    for at, row in enumerate(rows):
        user, item, time, watch = row
        if time is not None and row in met:
            continue
        met.add(row)
        kept.setdefault(user, []).append((time or 0, at, item, watch))
    told = {
        user: [(item, watch) for _, _, item, watch in sorted(mine, key=lambda m: m[:2])] for user, mine in kept.items()
    }
    return {user: [(item, watch) for item, watch in mine if watch is not None] for user, mine in told.items()}


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_import_agrees_with_a_plain_loop(rows: list[tuple[str, str, int | None, float | None]]) -> None:
    schema = {"user_id": pl.String, "item_id": pl.String, "occurred_at": pl.Int64, "watch": pl.Float32}
    few = len({user for user, *_ in rows}) < 2 or len({item for _, item, *_ in rows}) < 2
    # Small pieces and parts, so that little logs are cut as large ones are.
    with TemporaryDirectory() as folder, patch.object(base, "PIECE", 7), patch.object(spool, "ROWS_A_PART", 5):
        raw, out = Path(folder) / "log.parquet", Path(folder) / "out"
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(raw)
        try:
            dataset = import_dataset(TableReader(), raw, out)
        except DataError as error:
            assert few, error  # noqa: PT017 - the only excuse
            assert not out.exists()
            return
        assert not few
        events = dataset.events.collect()
        assert sorted(path.name for path in out.iterdir()) == [
            "events",
            "impressions",
            "items.parquet",
            "manifest.json",
            "viewers.parquet",
        ]
    for user, mine in expected(rows).items():
        found = events.filter(pl.col("user_id") == user)
        assert list(zip(found["item_id"], found["value"], strict=True)) == mine
        assert found["order"].to_list() == list(range(len(mine)))
