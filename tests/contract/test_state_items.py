"""What every store of catalogue changes promises, tried on each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from foveate.core.errors import RequestError
from foveate.data.catalog import Catalog
from foveate.data.overlay import CatalogOverlay
from foveate.data.schema import ITEM_ID, ITEMS
from foveate.state.connect import open_items, open_viewers
from foveate.state.copying import copy_state
from foveate.state.items import CatalogItem, ItemStore
from foveate.state.overlay import followed

WHOLE = CatalogItem(
    "whole",
    title="Wie Drachen fliegen 🪁",
    channel_id="c7",
    categories=("science", "sky"),
    tags=(),
    duration_seconds=61.5,
    published_at=1_700_000_000_123_456,
    available_from=1_700_000_000_000_000,
    maturity=6,
    language="de",
    regions=("DE", "AT"),
    safety=0.9,
)


@pytest.fixture
def items(store: str) -> Iterator[ItemStore]:
    with open_items(store) as opened:
        yield opened


def catalogue(*ids: str) -> Catalog:
    return Catalog(pl.DataFrame([{ITEM_ID: one, "title": f"title of {one}"} for one in ids], schema=ITEMS))


def test_an_empty_store_changes_nothing(items: ItemStore) -> None:
    overlay, known = CatalogOverlay(), catalogue("a", "b")
    assert items.version() == 0
    assert items.changes(0) == []
    assert followed(overlay, items) is overlay
    assert overlay.over(known) is known


def test_what_was_put_comes_back_whole_and_in_order(items: ItemStore) -> None:
    assert items.put([WHOLE, CatalogItem("bare")]) == 1
    first, second = items.changes(0)
    assert (first.item_id, second.item_id) == ("whole", "bare")
    assert first.number < second.number
    found = followed(CatalogOverlay(), items).over(catalogue())
    row = found.frame.row(0, named=True)
    assert {name: row[name] for name in ("title", "channel_id", "language", "maturity")} == {
        "title": WHOLE.title,
        "channel_id": "c7",
        "language": "de",
        "maturity": 6,
    }
    assert (row["categories"], row["tags"], row["regions"]) == (["science", "sky"], [], ["DE", "AT"])
    assert found.published_at[0] == WHOLE.published_at
    assert found.available_from[0] == WHOLE.available_from
    assert found.frame.row(1, named=True)["title"] is None


def test_changes_are_followed_from_where_one_was(items: ItemStore) -> None:
    known = catalogue("a", "b", "c")
    items.put([CatalogItem("n1", title="one"), CatalogItem("b", title="other")])
    overlay = followed(CatalogOverlay(), items)
    first = overlay.over(known)
    assert first.items.ids == ["a", "b", "c", "n1"]
    assert first.frame["title"].to_list() == ["title of a", "other", "title of c", "one"]
    assert (first.appended, first.withdrawn) == (1, None)
    items.put([CatalogItem("n2", title="two"), CatalogItem("n1", title="one again")])
    assert items.withdraw(["c", "n2"]) == 3
    second = followed(overlay, items)
    assert second.version == 3
    over = second.over(known)
    # Codes stay, whatever was known when.
    assert over.items.ids == ["a", "b", "c", "n1", "n2"]
    assert over.frame["title"].to_list()[3:] == ["one again", "two"]
    assert over.withdrawn is not None
    assert over.withdrawn.tolist() == [False, False, True, False, True]
    assert over.frame["title"][2] == "title of c"
    assert followed(CatalogOverlay(), items).over(known).frame.equals(over.frame)
    items.put([CatalogItem("c", title="back")])
    back = followed(second, items).over(known)
    assert back.withdrawn is not None
    assert back.withdrawn.tolist() == [False, False, False, False, True]


def test_ids_that_no_item_can_have_are_refused(items: ItemStore) -> None:
    for wrong in ("", "x" * 257):
        with pytest.raises(RequestError, match="1 to 256 characters"):
            items.put([CatalogItem("fine"), CatalogItem(wrong)])
        with pytest.raises(RequestError, match="1 to 256 characters"):
            items.withdraw([wrong])
    assert items.version() == 0


def test_odd_letters_come_back(items: ItemStore) -> None:
    odd = ["a,b:c", 'q"uote', "back\\slash", "[1,2,false,{}]", "видео", "🪁", "with\nline"]
    items.put([CatalogItem(one, title=one) for one in odd])
    items.withdraw([odd[0]])
    kept = {one.item_id: one for one in items.changes(0)}
    assert list(kept) == odd
    assert all(one.facts["title"] == name for name, one in kept.items())
    assert [name for name, one in kept.items() if one.withdrawn] == [odd[0]]


def test_threads_lose_no_item_and_share_no_number(items: ItemStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: items.put([CatalogItem(f"n{number}")]), range(40)))
    kept = items.changes(0)
    assert len({one.item_id for one in kept}) == 40
    assert [one.number for one in kept] == sorted({one.number for one in kept})
    assert items.version() == max(one.version for one in kept)


def test_a_copy_takes_the_catalogue_along(items: ItemStore, store: str, tmp_path: Path) -> None:
    items.put([WHOLE, CatalogItem("gone", title="gone"), CatalogItem("bare")])
    items.withdraw(["gone", "never"])
    with open_viewers(store):
        copy_state(store, tmp_path / "copy")
    with open_items(tmp_path / "copy") as copied:
        copied.put([CatalogItem("bare", title="newer there")])
    copy_state(store, tmp_path / "copy")
    with open_items(tmp_path / "copy") as copied:
        there = copied.changes(0)
    here = items.changes(0)
    assert [(one.item_id, one.withdrawn) for one in there] == [(one.item_id, one.withdrawn) for one in here]
    assert [one.facts for one in there[:2]] == [one.facts for one in here[:2]]
    # What is there stays.
    assert there[2].facts == {"title": "newer there"}
