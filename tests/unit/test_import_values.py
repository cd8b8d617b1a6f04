"""What single values are read as; each test names the kind of mistake that it keeps away."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from foveate.data.readers.names import LOG_NAMES, guess_columns, seconds_scale
from foveate.data.values.base import Parser
from foveate.data.values.numbers import Flag, Integer, Number, Seconds, Years
from foveate.data.values.text import Id, OneOf, Text, Words, list_separator
from foveate.data.values.times import Time, date_order, made_of_digits

BAD = "bad"
UTC = dt.UTC
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=UTC)


def read(parser: Parser, values: list[Any], dtype: pl.DataType | type[pl.DataType] | None = None) -> list[Any]:
    parsed = parser.parse(pl.Series("x", values, dtype=dtype))
    bad = parsed.bad.to_list() if parsed.bad is not None else [False] * len(values)
    return [BAD if wrong else value for value, wrong in zip(parsed.values.to_list(), bad, strict=True)]


@pytest.mark.parametrize(
    "text",
    [
        "1714564800",
        "1714564800000",
        "1714564800000000",
        "1714564800000000000",
        "1714564800.0",
        "1.7145648e9",
        "2024-05-01T12:00:00Z",
        "2024-05-01 12:00:00",
        "2024-05-01 12:00",
        "2024-05-01T12:00:00.000000000Z",
        "2024-05-01 12:00:00 UTC",
        "2024-05-01 12:00:00.000000 UTC",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T14:00:00+0200",
        "2024-05-01 07:00:00-05",
        "2024/5/1 12:00",
        "20240501T120000Z",
        "01.05.2024 12:00",
        "Wed, 01 May 2024 12:00:00 GMT",
        "Wed May 01 12:00:00 +0000 2024",
        "May 1, 2024 12:00 PM",
        "20240501 12:00:00",
        "20240501 120000",
        "2024-05-01t12:00:00z",
        "2024-05-01_12:00:00",
        "2024-05-01T14:00:00+02:00[Europe/Berlin]",
        "Wed May 01 2024 14:00:00 GMT+0200 (Central European Summer Time)",
        "01/May/2024:14:00:00 +0200",
    ],
)
def test_one_moment_is_written_in_many_ways(text: str) -> None:
    assert read(Time(), [text, None, "NULL"]) == [NOON, None, None]


def test_a_date_with_slashes_is_read_when_its_order_is_known() -> None:
    assert read(Time(), ["03/04/2024"]) == [BAD]
    assert read(Time(order="dmy"), ["03/04/2024"]) == [dt.datetime(2024, 4, 3, tzinfo=UTC)]
    assert read(Time(order="mdy"), ["03/04/2024"]) == [dt.datetime(2024, 3, 4, tzinfo=UTC)]
    assert date_order(pl.Series(["03/04/2024", "14/04/2024 10:00"])) == "dmy"
    assert date_order(pl.Series(["03/04/2024", "04/14/2024"])) == "mdy"
    assert date_order(pl.Series(["03/04/2024"])) is None
    assert date_order(pl.Series(["2024-04-03"])) == "auto"


def test_dates_as_numbers_are_no_seconds() -> None:
    assert made_of_digits(pl.Series([20240501, 20231231]))
    assert made_of_digits(pl.Series([20240501120000]))
    assert not made_of_digits(pl.Series([20240501, 20241301]))
    assert not made_of_digits(pl.Series([1714564800]))
    assert read(Time(digits=True), ["20240501120000", "20240501", "20240532"]) == [
        NOON,
        NOON.replace(hour=0),
        BAD,
    ]
    moments = {"2024050112": NOON, "202405011200": NOON, "20240501120000123": NOON.replace(microsecond=123_000)}
    for number, moment in moments.items():
        assert made_of_digits(pl.Series([int(number)]))
        assert read(Time(digits=True), [number]) == [moment]
    assert not made_of_digits(pl.Series([2024050112, 2024050160]))
    # A log that counts its rows: the twenty-millionth is no date.
    assert read(Time(), [20_240_501])[0].year == 1970


@pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt32, pl.Int64, pl.Float64])
def test_seconds_do_not_overflow_the_type_that_they_come_in(dtype: type[pl.DataType]) -> None:
    assert read(Time(), [1714564800], dtype) == [NOON]


def test_a_time_beyond_the_calendar_is_bad_and_no_traceback() -> None:
    assert read(Time("s"), ["1714564800000", "1714564800"]) == [BAD, NOON]
    assert read(Time("s"), [1714564800000], pl.Int64) == [BAD]
    assert read(Time(), ["soon", "2024-02-30", "infinity", "10:00"]) == [BAD] * 4
    assert read(Time(), [dt.time(10)]) == [BAD]


def test_times_of_a_zone_are_moved_to_utc() -> None:
    assert read(Time(zone="Europe/Berlin"), ["2024-05-01T14:00:00", "2024-05-01T12:00:00Z"]) == [NOON, NOON]
    assert read(Time(zone="Europe/Berlin"), [dt.datetime(2024, 5, 1, 14)]) == [NOON]
    # An hour that summer time leaves out is no time, in whatever way it is written.
    for left_out in (["2024-03-31 02:30:00"], ["31.03.2024 02:30"], [dt.datetime(2024, 3, 31, 2, 30)]):
        assert read(Time(zone="Europe/Berlin"), left_out) == [BAD]
    parsed = Time().parse(pl.Series(["2024-05-01T12:00:00", "2024-05-01T12:00:00Z"]))
    assert (parsed.naive, parsed.zoned) == (1, 1)


def test_a_year_is_a_date_where_years_are_expected() -> None:
    assert read(Time(years=True), ["1995"]) == [dt.datetime(1995, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize(
    "nothing", ["", "NULL", "null", "NaN", "NaT", "\\N", "None", "<NA>", "N/A", " ", "NIL", "#NULL!"]
)
@pytest.mark.parametrize("parser", [Time(), Number(), Seconds(), Integer(pl.Int32()), Flag(), Years()])
def test_nothing_has_many_spellings(parser: Parser, nothing: str) -> None:
    assert read(parser, [nothing, "1"])[0] is None


def test_lengths_of_time_are_seconds() -> None:
    assert read(Seconds(), ["3.5", "00:05:00", "PT5M", "P1DT2H", "5 min", "1:30"]) == [3.5, 300, 300, 93_600, BAD, BAD]
    assert read(Seconds(), ["0 days 00:01:30", "1 day, 0:01:30.5"]) == [90, 86_490.5]
    assert read(Seconds(), [dt.timedelta(seconds=5)], pl.Duration("us")) == [5]
    assert read(Seconds(), [dt.timedelta(seconds=5)], pl.Duration("ms")) == [5]
    assert read(Seconds(), [dt.time(0, 5)]) == [300]
    assert read(Seconds(0.001), ["3500", "00:05:00"]) == [3.5, 300]


def test_a_watch_that_is_only_said_to_have_happened_has_no_length() -> None:
    happened, not_happened = read(Seconds(), [True, False])
    assert happened != happened  # noqa: PLR0124 - not a number
    assert not_happened is None


def test_flags_are_more_than_0_and_1() -> None:
    assert read(Flag(), ["Y", "t", "1.0", "TRUE", "3"]) == [True] * 5
    assert read(Flag(), ["N", "f", "0.0", "no", "0"]) == [False] * 5
    assert read(Flag(), ["maybe", "-1"]) == [BAD, BAD]
    assert read(Flag(), [1.0, float("nan"), 0.0]) == [True, None, False]


def test_numbers_are_whole_or_not() -> None:
    assert read(Number(), ["4.5", "1e2", "five"]) == [4.5, 100, BAD]
    assert read(Number(","), ["4,5", "3"]) == [4.5, 3]
    assert read(Number(share=True), ["0.5", "1.5", "high"]) == [0.5, BAD, BAD]
    assert read(Number(), [Decimal("4.5")]) == [4.5]
    assert read(Integer(pl.Int32()), ["3", "3.0", "3.5", "99999999999"]) == [3, 3, BAD, BAD]
    assert read(Integer(pl.Int32()), [3.0, 3.5, float("nan")]) == [3, BAD, None]
    assert read(Years(), ["12", "PG-13", "16+", "R"]) == [12, 13, 16, BAD]


def test_ids_are_kept_byte_for_byte() -> None:
    assert read(Id(), ["10.0", " a", "01", "NULL", "é"]) == ["10.0", " a", "01", None, "é"]
    assert read(Id(floats=True), ["10.0", "11.00"]) == ["10", "11"]
    assert read(Id(), [10.0, 1.5, float("nan"), None]) == ["10", "1.5", None, None]
    assert read(Id(), [2**63 + 5], pl.UInt64) == ["9223372036854775813"]
    assert read(Id(), [["u"]]) == [BAD]


def test_ids_of_every_type_are_text_or_bad() -> None:
    assert read(Id(), [Decimal("7.00"), Decimal("1.50")]) == ["7", "1.50"]
    assert read(Id(), [b"u1", b"\xff"]) == ["u1", BAD]
    guids = ["{3F2504E0-4F89}", "[x]"]
    assert read(Id(coded=True), [*guids, '{"id": 1}', "[1, 2]", "['u']", "[]"]) == [*guids, *[BAD] * 4]
    assert read(Id(), ["  ", " NULL", "a b"]) == [None, None, "a b"]


def test_floats_that_stand_for_several_ids_are_no_ids() -> None:
    assert read(Id(), [2.0**53 - 1, 2.0**53], pl.Float64) == ["9007199254740991", BAD]
    assert read(Id(), [2.0**24 - 1, 2.0**24], pl.Float32) == ["16777215", BAD]


@pytest.mark.parametrize(
    ("name", "ours", "scale"),
    [
        ("watch_time (ms)", "watch", 0.001),
        ("watchtimems", "watch", 0.001),
        ("watch_time_us", "watch", 1e-6),
        ("watchTimeSec", "watch", 1),
        ("play_time_hours", "watch", 3600),
        ("minutes_watched", "watch", 60),
        ("ms_played", "watch", 0.001),
        ("duration_min", "duration", 60),
        ("watch", "watch", 1),
    ],
)
def test_names_of_lengths_say_their_unit(name: str, ours: str, scale: float) -> None:
    assert guess_columns([name, "min_length"], LOG_NAMES, ()) == {ours: name}
    assert seconds_scale(name) == scale
    assert Seconds(scale).about


def test_names_may_stand_behind_their_table() -> None:
    assert guess_columns(["r.uid", "r.movie"], LOG_NAMES, ()) == {"user_id": "r.uid", "item_id": "r.movie"}
    assert guess_columns(["a.uid", "b.movie"], LOG_NAMES, ()) == {}


def test_lists_have_many_forms() -> None:
    assert read(Words(), ["Action | Comedy", "Comedy||Action|", "(no genres listed)", None]) == [
        ["Action", "Comedy"],
        ["Comedy", "Action"],
        None,
        None,
    ]
    assert read(Words(","), ['["a", "b"]', "['x', 'y']", '[{"id": 1, "name": "Drama"}]', "p, q"]) == [
        ["a", "b"],
        ["x", "y"],
        ["Drama"],
        ["p", "q"],
    ]
    printed = [
        "['x', 'y, z']",
        "[{'id': 1, 'name': 'Drama'}, {'id': 2, 'name': 'War'}]",
        "['x' \"y's\"\n 'z']",
        '{p,"q, r"}',
    ]
    assert read(Words(","), printed) == [["x", "y, z"], ["Drama", "War"], ["x", "y's", "z"], ["p", "q, r"]]
    assert read(Words(), [["a", " b", ""], None]) == [["a", "b"], None]
    assert list_separator([pl.Series(["a, b", "c"])]) == ","
    assert list_separator([pl.Series(["News, Politics|Sport", "c"])]) == "|"


def test_text_is_stripped_and_words_have_meanings() -> None:
    assert read(Text(), [" A film ", "", "NULL"]) == ["A film", None, None]
    assert read(OneOf({"play": "watch"}), ["play", "dance", None]) == ["watch", BAD, None]
