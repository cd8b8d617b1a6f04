"""Items are put and withdrawn over HTTP and by the command line, over the real ingress in this process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from click.testing import CliRunner

import foveate
from foveate.bundle import Bundle, default_state
from foveate.data.schema import ITEM_ID
from foveate_cli.items import command
from foveate_serve.client import Client, ItemIn, ItemsIn, MissingError
from foveate_serve.config import ServeConfig

PATIENCE_S = 60.0
"""The machine may be busy: how soon a change is seen is measured elsewhere."""


@pytest.fixture(scope="module")
def state(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("items") / "state.sqlite"
    return Path(shutil.copyfile(default_state(small_bundle.path), path))


@pytest.fixture(scope="module")
def api(small_bundle: Bundle, state: Path, serving: Any) -> Iterator[httpx.Client]:
    with serving(small_bundle, state, ServeConfig(topology="fused", deadline_ms=60_000)) as client:
        yield client


def seen(api: httpx.Client, item_id: str, wanted: Any) -> dict[str, Any]:
    """Wait until an item is answered as is wanted."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        answer = api.get(f"/v1/items/{item_id}")
        if (answer.status_code == 200 and wanted(answer.json())) or time.monotonic() > give_up:
            assert answer.status_code == 200, answer.text
            found: dict[str, Any] = answer.json()
            assert wanted(found)
            return found
        time.sleep(0.05)


def slate(api: httpx.Client, **body: Any) -> list[str]:
    answer = api.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_an_item_is_put_found_changed_and_withdrawn(api: httpx.Client, small_bundle: Bundle) -> None:
    like = small_bundle.model.catalog.frame.row(7, named=True)
    title = f"{like['title']} & kites"
    facts = {"title": title, "categories": like["categories"], "tags": like["tags"], "maturity": 3}
    put = api.put("/v1/items/kite%2F1", json={**facts, "channel_id": like["channel_id"], "duration_seconds": 61.5})
    assert (put.status_code, put.json()["items"]) == (200, 1)
    found = seen(api, "kite%2F1", lambda item: item["title"] == title)
    assert (found["item_id"], found["duration_seconds"], found["withdrawn"]) == ("kite/1", 61.5, False)
    related = {"surface": "related", "related_to": like[ITEM_ID], "k": 30}
    assert "kite/1" in slate(api, **related)
    assert slate(api, surface="related", related_to="kite/1", k=5)
    assert slate(api, surface="session", history=[{"item_id": "kite/1"}], k=5)
    event = {"user_id": "one who watched it", "item_id": "kite/1", "kind": "like"}
    assert api.post("/v1/events", json={"events": [event]}).json()["unknown_items"] == 0
    assert "kite/1" not in slate(api, user_id="one who watched it", k=30)
    again = api.put("/v1/items/kite%2F1", json={"title": "Kites alone"})
    assert again.json()["version"] > put.json()["version"]
    assert seen(api, "kite%2F1", lambda item: item["title"] == "Kites alone")["channel_id"] is None
    assert api.delete("/v1/items/kite%2F1").status_code == 200
    seen(api, "kite%2F1", lambda item: item["withdrawn"])
    assert "kite/1" not in slate(api, **related)


def test_an_old_item_is_withdrawn_and_comes_back(api: httpx.Client, small_bundle: Bundle) -> None:
    ask = {"user_id": "u00017", "k": 5, "seed": 1, "now": "2025-03-14T00:00:00Z"}
    [best, *_] = before = slate(api, **ask)
    assert api.delete(f"/v1/items/{best}").status_code == 200
    seen(api, best, lambda item: item["withdrawn"])
    assert best not in slate(api, **ask)
    row = small_bundle.model.catalog.frame.row(small_bundle.model.catalog.items.code(best), named=True)
    kept = {name: fact for name, fact in row.items() if fact is not None and name != ITEM_ID}
    for name in ("published_at", "available_from"):
        if name in kept:
            kept[name] = kept[name].isoformat()
    assert api.put(f"/v1/items/{best}", json=kept).status_code == 200
    seen(api, best, lambda item: not item["withdrawn"])
    assert slate(api, **ask) == before


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"title": 5}, "title"),
        ({"duration_seconds": -1.0}, "duration_seconds"),
        ({"published_at": 17}, "published_at"),
        ({"colour": "red"}, "colour"),
        ({"categories": [""]}, "categories"),
        ({"safety": 2}, "safety"),
    ],
)
def test_what_cannot_be_of_an_item_is_refused_by_its_name(api: httpx.Client, body: Any, place: str) -> None:
    answer = api.put("/v1/items/wrong", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert place in json.dumps(answer.json())
    assert api.get("/v1/items/wrong").status_code == 404


def test_many_are_put_all_or_none_and_the_client_has_methods(api: httpx.Client) -> None:
    items = [{"item_id": f"many-{number}"} for number in range(3)]
    assert api.post("/v1/items", json={"items": [*items, {"item_id": ""}]}).status_code == 422
    with Client(str(api.base_url)) as client:
        with pytest.raises(MissingError):
            client.item("many-0")
        put = client.put_items(ItemsIn(items=[ItemIn(**one, title="t") for one in items]))
        assert put.items == 3
        seen(api, "many-2", lambda item: item["title"] == "t")
        assert client.withdraw_item("many-1").version == put.version + 1
        seen(api, "many-1", lambda item: item["withdrawn"])


def test_the_verb_puts_a_table_lists_and_withdraws(api: httpx.Client, state: Path, tmp_path: Path) -> None:
    table = tmp_path / "new.csv"
    table.write_text(
        "video_id,title,genres,seconds,note\nverb-1,How kites fly,science|sky,61.5,x\nverb-2,Rain,,12,y\n", "utf-8"
    )
    runner = CliRunner()
    done = runner.invoke(command, ["put", str(state), str(table)])
    assert done.exit_code == 0, done.output
    assert "ignored  column 'note'" in done.output
    assert "put      2 items" in done.output
    found = seen(api, "verb-1", lambda item: item["title"] == "How kites fly")
    assert (found["categories"], found["duration_seconds"]) == (["science", "sky"], 61.5)
    assert runner.invoke(command, ["withdraw", str(state), "verb-2"]).exit_code == 0
    seen(api, "verb-2", lambda item: item["withdrawn"])
    listed = [json.loads(line) for line in runner.invoke(command, ["list", str(state)]).output.splitlines()]
    own = {row["item_id"]: row for row in listed if row["item_id"].startswith("verb-")}
    assert [row["withdrawn"] for row in own.values()] == [False, True]
    assert own["verb-1"]["title"] == "How kites fly"


def test_an_export_takes_the_items_into_the_dataset(api: httpx.Client, state: Path, tmp_path: Path) -> None:
    assert api.put("/v1/items/exported", json={"title": "For ever", "tags": ["kept"]}).status_code == 200
    assert api.put("/v1/items/dropped", json={"title": "Not for ever"}).status_code == 200
    assert api.delete("/v1/items/dropped").status_code == 200
    events = [{"user_id": f"watcher {n}", "item_id": "exported", "kind": "like"} for n in range(3)]
    assert api.post("/v1/events", json={"events": events}).json()["added"] == 3
    foveate.export_log(state, tmp_path / "log", settle_s=0)
    items = foveate.read(tmp_path / "log", reader="served").items
    row = items.filter(pl.col(ITEM_ID) == "exported").row(0, named=True)
    assert (row["title"], row["tags"]) == ("For ever", ["kept"])
    assert "dropped" not in items[ITEM_ID]
