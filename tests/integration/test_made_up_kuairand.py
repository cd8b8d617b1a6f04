"""A made-up log has KuaiRand's layout, and its reader takes it."""

import polars as pl
import pytest

from foveate.core.errors import ConfigError, OutputExistsError
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.kuairand import KuaiRandReader
from lab import made_up_kuairand as kuairand
from lab.made_up_kuairand import LOG, USERS, VIDEOS, write_kuairand

ROWS = 6000


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return write_kuairand(tmp_path_factory.mktemp("raw") / "kuairand", ROWS, seed=4)


@pytest.fixture(scope="module")
def log(made_up):
    return pl.read_csv(made_up / LOG)


def test_the_columns_are_the_published_ones(made_up, shared_data):
    real = shared_data / "kuairand-pure"
    pairs = {LOG: "log_standard_4_25_to_5_01_pure.csv", VIDEOS: VIDEOS, USERS: USERS}
    for ours, theirs in pairs.items():
        with (made_up / ours).open() as mine, (real / theirs).open() as published:
            assert mine.readline() == published.readline()


def test_the_log_has_the_flaws_of_real_ones(log):
    assert log.height == ROWS
    assert log.height - log.unique().height == int(0.03 * ROWS)
    assert 0.002 < log["duration_ms"].null_count() / ROWS < 0.03
    assert 0.02 < (log["play_time_ms"] > log["duration_ms"]).mean() < 0.2
    assert log["user_id"].is_sorted()


def test_dates_hours_and_times_agree_in_beijing(log):
    local = pl.from_epoch(log["time_ms"], time_unit="ms").dt.offset_by("8h")
    assert (local.dt.strftime("%Y%m%d").cast(pl.Int64) == log["date"]).all()
    assert (local.dt.hour().cast(pl.Int64) * 100 == log["hourmin"]).all()
    assert set(log["date"]) == {*range(20220422, 20220431), *range(20220501, 20220509)}


def test_pieces_join_without_a_seam(tmp_path, monkeypatch):
    monkeypatch.setattr(kuairand, "_CHUNK", 1000)
    log = pl.read_csv(write_kuairand(tmp_path / "k", 2500) / LOG)
    assert log.height == 2500
    assert log["user_id"].is_sorted()


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path, made_up):
    again, other = (write_kuairand(tmp_path / str(seed), ROWS, seed) for seed in (4, 5))
    for name in (LOG, VIDEOS, USERS):
        assert (again / name).read_bytes() == (made_up / name).read_bytes()
        assert (other / name).read_bytes() != (made_up / name).read_bytes()


def test_the_reader_takes_it(tmp_path, made_up, log):
    dataset = import_dataset(KuaiRandReader(), made_up, tmp_path / "data")
    distinct = log.unique(["user_id", "video_id", "time_ms"])
    assert dataset.manifest.rows["impressions"] == distinct.height
    kinds = dict(dataset.events.collect().group_by("kind").len().iter_rows())
    assert kinds["long_view"] == distinct["long_view"].sum()
    assert dataset.manifest.rows["items"] == pl.read_csv(made_up / VIDEOS).height
    assert dataset.manifest.rows["viewers"] == pl.read_csv(made_up / USERS).height


def test_one_row_is_enough(tmp_path):
    assert pl.read_csv(write_kuairand(tmp_path / "k", 1) / LOG).height == 1


def test_impossible_sizes_and_taken_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="rows must be at least 1"):
        write_kuairand(tmp_path / "k", 0)
    with pytest.raises(ConfigError, match="seed must be at least 0"):
        write_kuairand(tmp_path / "k", 5, seed=-1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").touch()
    with pytest.raises(OutputExistsError):
        write_kuairand(tmp_path, 5)
