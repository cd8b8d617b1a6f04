"""Each cleaning step alone, and what the pipeline reports."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from foveate.data.cleaning.base import N_EXAMPLES, CleaningContext, Pipeline, Step, Tally, steps
from foveate.data.importing.contacts import CONTACTS, ROW
from foveate.data.schema import as_items

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CONTEXT = CleaningContext(now=int(NOW.timestamp() * 1e6))


def log(**columns: list[object]) -> pl.DataFrame:
    size = len(next(iter(columns.values())))
    ids = {"user_id": ["u"] * size, "item_id": [f"i{at}" for at in range(size)]}
    schema = {**CONTACTS, ROW: pl.Int64()}
    given = {**ids, **columns, ROW: list(range(size))}
    return pl.DataFrame(given, schema={name: schema[name] for name in given}, strict=False)


def cleaned(
    step: str, table: str, frame: pl.DataFrame, context: CleaningContext = CONTEXT
) -> tuple[pl.DataFrame, Tally]:
    tally = Tally()
    return Step.variants[step]().clean(table, frame, tally, context), tally


def test_missing_ids_are_dropped() -> None:
    frame, tally = cleaned("missing values", "log", log(user_id=["u", None, "", " "], item_id=["a", "a", "a", None]))
    assert frame["user_id"].to_list() == ["u"]
    assert (tally.dropped, tally.mended) == (3, 0)
    assert "user_id is missing: user_id=None, item_id='a'" in tally.examples


def test_a_time_of_zero_is_no_time() -> None:
    frame, tally = cleaned("missing values", "log", log(occurred_at=[0, -1_000_000, 5, None]))
    assert frame["occurred_at"].dt.timestamp("us").to_list() == [None, None, 5, None]
    assert (tally.dropped, tally.mended) == (0, 2)


def test_a_watch_is_cut_to_its_video() -> None:
    frame, tally = cleaned(
        "outliers", "log", log(watch=[9.0, 3.0, 9.0, 9.0, None], duration=[5.0, 5.0, None, 0.0, 5.0])
    )
    assert frame["watch"].to_list() == [5.0, 3.0, 9.0, 9.0, None]
    assert (tally.dropped, tally.mended) == (0, 1)
    assert tally.examples == ["a watch longer than the video: user_id='u', item_id='i0', watch=9.0, duration=5.0"]


def test_impossible_amounts_are_forgotten_and_unknown_ones_kept() -> None:
    nan, inf = float("nan"), float("inf")
    frame, tally = cleaned("outliers", "log", log(watch=[-1.0, inf, nan, 2.0], rate=[nan, 4.0, None, inf]))
    assert frame["watch"].is_null().to_list() == [True, True, False, False]
    assert frame["watch"].is_nan().to_list()[2]
    assert frame["rate"].to_list() == [None, 4.0, None, None]
    assert (tally.dropped, tally.mended) == (0, 3)


def test_the_future_is_dropped() -> None:
    frame, tally = cleaned("outliers", "log", log(occurred_at=[CONTEXT.now, CONTEXT.now + 1, None]))
    assert frame[ROW].to_list() == [0, 2]
    assert (tally.dropped, tally.mended) == (1, 0)
    untouched, _ = cleaned("outliers", "log", log(occurred_at=[2**52]), CleaningContext(now=None))
    assert untouched.height == 1


def test_a_duration_of_nothing_is_unknown() -> None:
    items = as_items(pl.DataFrame({"item_id": ["a", "b", "c"], "duration_seconds": [-3.0, 0.0, 4.0]}))
    frame, tally = cleaned("outliers", "items", items)
    assert frame["duration_seconds"].to_list() == [None, None, 4.0]
    assert tally.mended == 2


def test_normalisation_leaves_ids_alone() -> None:
    frame, tally = cleaned("normalisation", "log", log(item_id=[" a", "A ", ""], surface=["  ", "home", None]))
    assert frame["item_id"].to_list() == [" a", "A ", ""]
    assert frame["surface"].to_list() == [None, "home", None]
    assert tally.mended == 1


def test_a_tag_stands_once_in_its_first_place() -> None:
    items = as_items(pl.DataFrame({"item_id": ["a", "b"], "tags": [["y", "x", "y"], ["x"]], "title": [" ", "T"]}))
    frame, tally = cleaned("normalisation", "items", items)
    assert frame["tags"].to_list() == [["y", "x"], ["x"]]
    assert frame["title"].to_list() == [None, "T"]
    assert tally.mended == 2 - 1


def test_duplicates_agree_in_everything_unless_told() -> None:
    frame = log(item_id=["a", "a", "a", "b", "a"], occurred_at=[5, 5, 5, 5, 6], watch=[1.0, 1.0, 2.0, 1.0, 1.0])
    every, tally = cleaned("duplicates", "log", frame)
    assert every[ROW].to_list() == [0, 2, 3, 4]
    assert (tally.dropped, tally.mended) == (1, 0)
    moment, _ = cleaned("duplicates", "log", frame, CleaningContext(same=("user_id", "item_id", "occurred_at")))
    assert moment[ROW].to_list() == [0, 3, 4]


def test_a_repeat_without_a_time_is_no_duplicate() -> None:
    frame, tally = cleaned("duplicates", "log", log(item_id=["a", "a"], occurred_at=[None, None]))
    assert frame.height == 2
    assert cleaned("duplicates", "log", log(item_id=["a", "a"]))[0].height == 2
    assert tally.dropped == 0


def test_an_item_described_twice_keeps_its_first_description() -> None:
    items = as_items(pl.DataFrame({"item_id": ["a", "b", "a"], "title": ["one", "two", "three"]}))
    frame, tally = cleaned("duplicates", "items", items)
    assert frame["title"].to_list() == ["one", "two"]
    assert tally.dropped == 1


def test_a_row_is_counted_once_however_many_faults_it_has() -> None:
    frame, tally = cleaned("missing values", "log", log(user_id=[None], item_id=[None], occurred_at=[0]))
    assert frame.height == 0
    assert (tally.dropped, tally.mended) == (1, 0)


def test_the_pipeline_adds_up_pieces_and_shows_a_few_examples() -> None:
    pipeline = Pipeline("log", CONTEXT)
    for _ in range(N_EXAMPLES + 2):
        frame, tallies = pipeline.clean(log(user_id=[None, "u"]), whole=False)
        pipeline.count(tallies)
        assert frame.height == 1
    by_step = {report.step: report for report in pipeline.reports()}
    assert by_step["missing values"].dropped == N_EXAMPLES + 2
    assert len(by_step["missing values"].examples) == N_EXAMPLES
    assert all(report.table == "log" for report in by_step.values())


@pytest.mark.parametrize("name", list(Step.variants))
def test_every_step_takes_empty_tables_and_clean_rows(name: str) -> None:
    fine = {
        "log": log(occurred_at=[5], watch=[1.0], duration=[2.0], surface=["home"]),
        "items": as_items(pl.DataFrame({"item_id": ["a"], "title": ["T"], "tags": [["x"]]})),
        "viewers": pl.DataFrame({"user_id": ["u"], "attributes": ["{}"]}),
    }
    for table, frame in fine.items():
        for given in (frame, frame.clear()):
            result, tally = cleaned(name, table, given)
            assert result.equals(given)
            assert (tally.dropped, tally.mended, tally.examples) == (0, 0, [])


def test_steps_run_in_their_places() -> None:
    assert [step.name for step in steps()] == ["missing values", "normalisation", "outliers", "duplicates"]
    assert len({step.place for step in steps()}) == len(Step.variants)
