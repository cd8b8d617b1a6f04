"""What goes with a video: likeness by the catalogue, beside what viewers did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from foveate.bundle import Bundle
from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.schema import ITEMS
from foveate.recommend.surfaces.related import Likeness, item_marks

TITLES = ["Alien (1979)", "Aliens (1986)", "Alien 3 (1992)", "Citizen Kane (1941)", "The Third Man (1949)", None]
CATEGORIES = [["Horror", "Sci-Fi"], ["Action", "Sci-Fi"], ["Horror", "Sci-Fi"], ["Drama"], ["Drama"], []]


def catalog() -> Catalog:
    given = {"item_id": [f"v{row}" for row in range(6)], "title": TITLES, "categories": CATEGORIES}
    blanks = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ITEMS.items() if name not in given]
    return Catalog(pl.DataFrame(given, schema={name: ITEMS[name] for name in given}).with_columns(blanks))


def query(*items: int) -> Query:
    codes, ones = np.array(items, dtype=np.int32), np.ones(len(items), dtype=np.float32)
    times = np.full(len(items), NO_TIME)
    return Query("u", codes, times, np.zeros(len(items), np.int8), ones, ones.astype(bool), codes[:0], NO_TIME)


def test_words_categories_and_what_is_rare_make_items_alike() -> None:
    [scores_I] = Likeness(catalog()).scores([query(3, 0)])
    assert np.argsort(-scores_I, kind="stable")[:3].tolist() == [0, 2, 1]
    assert scores_I[0] == np.float32(1)
    assert scores_I[5] == 0
    assert scores_I[3] == 0


def test_without_an_event_or_a_mark_nothing_is_alike() -> None:
    likeness = Likeness(catalog())
    assert not likeness.scores([query(), query(5)]).any()
    bare = Catalog(catalog().frame.with_columns(title=pl.lit(None, dtype=pl.String), categories=pl.lit(None)))
    assert item_marks(bare).nnz == 0


def test_one_by_one_as_together() -> None:
    likeness, queries = Likeness(catalog()), [query(0), query(), query(4)]
    together = likeness.scores(queries)
    np.testing.assert_array_equal(together, np.concatenate([likeness.scores([one]) for one in queries]))


def test_a_bundle_whose_catalogue_tells_nothing_still_answers(small_bundle: Bundle) -> None:
    frame = small_bundle.model.catalog.frame
    blanks = {name: pl.lit(None, dtype=frame.schema[name]) for name in ("title", "categories", "tags", "channel_id")}
    bare = replace(small_bundle.model, catalog=Catalog(frame.with_columns(**blanks)))
    assert not Likeness(bare.catalog).scores([query(3)]).any()
