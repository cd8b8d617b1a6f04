"""The real data sets import whole, and are cut where the published protocols cut them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader
from foveate.data.signals import Signals
from foveate.data.split import windows


def imported(reader: str, path: Path, out: Path) -> Dataset:
    if not path.exists():
        pytest.skip(f"no data at {path}")
    return import_dataset(Reader.variants[reader](), path, out)


def encoded(dataset: Dataset) -> Events:
    return dataset.log().encode(dataset.users(), dataset.catalog().items, Signals(), dataset.manifest.positive_kinds)


@pytest.mark.slow
def test_kuairand_pure(shared_data: Path, tmp_path: Path) -> None:
    dataset = imported("kuairand", shared_data / "kuairand-pure", tmp_path / "out")
    dropped = {report.step: report.dropped for report in dataset.manifest.cleaning if report.table == "log"}
    # 115,574 rows hold 112,036 distinct (viewer, video, moment).
    assert dropped["duplicates"] == 115_574 - 112_036
    assert dataset.manifest.rows["impressions"] == 112_036
    cut = windows(encoded(dataset), "time")
    midnights = [datetime(2022, 4, 27, 16), datetime(2022, 4, 29, 16), datetime(2022, 4, 30, 16)]
    assert [stage.now for stage in cut] == [int(m.replace(tzinfo=UTC).timestamp()) * 1_000_000 for m in midnights]
    likes = np.bincount(cut.ranker.history.user[cut.ranker.history.positive])
    assert np.median(likes[likes > 0]) >= 10  # without the histories file it is 2


@pytest.mark.parametrize(
    ("reader", "path", "size"),
    [
        ("recbole", "ml-100k", (943, 1682, 100_000)),
        ("movielens", "ml-latest-small", (610, 9742, 100_836)),
        ("sequence", "amazon/beauty.parquet", (22_363, 12_101, 198_502)),
    ],
)
def test_leave_one_out_sets(
    shared_data: Path, tmp_path: Path, reader: str, path: str, size: tuple[int, int, int]
) -> None:
    users, items, rows = size
    dataset = imported(reader, shared_data / path, tmp_path / "out")
    assert dataset.manifest.rows == {"impressions": 0, "events": rows, "items": items, "viewers": users}
    events = encoded(dataset)
    cut = windows(events, "leave-one-out")
    assert [len(stage.targets) for stage in cut] == [users] * 3
    last = events.offsets()[1:] - 1
    assert np.array_equal(cut.test.targets.items, events.item[last])
