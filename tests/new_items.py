"""An item that is put shows in a server's answers, and goes when it is withdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from foveate.bundle import Bundle

PATIENCE_S = 60.0
"""How soon is measured elsewhere: here the machine may be busy."""


def shows_and_goes(http: httpx.Client, bundle: Bundle) -> None:
    """Put an item that is described as an old one is, and withdraw it."""
    like = bundle.model.catalog.frame.row(7, named=True)
    facts = {name: like[name] for name in ("title", "categories", "tags", "channel_id")}
    assert http.put("/v1/items/brand-new", json=facts).status_code == 200

    def related() -> list[str]:
        body = {"surface": "related", "related_to": like["item_id"], "k": 30}
        answer = http.post("/v1/recommend", json=body)
        assert answer.status_code == 200, answer.text
        return [item["item_id"] for item in answer.json()["items"]]

    assert _becomes_true(lambda: "brand-new" in related())
    assert http.delete("/v1/items/brand-new").status_code == 200
    assert _becomes_true(lambda: "brand-new" not in related())


def _becomes_true(holds: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.1)
    return True
