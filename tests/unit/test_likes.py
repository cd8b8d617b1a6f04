"""A slate for somebody who only says what they like: items, channels, categories, tags."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import numpy as np
import pytest

import foveate
from foveate.bundle import Bundle
from foveate.core.errors import ConfigError, RequestError
from foveate.core.messages import Likes
from foveate.recommend.likes import stand_ins


@pytest.fixture(scope="module")
def recommender(small_bundle: Bundle) -> foveate.Recommender:
    return foveate.load(small_bundle.path)


def ids(slate: Any) -> list[str]:
    return [item.item_id for item in slate.slate.items]


def test_liked_categories_are_shown_more_than_to_anyone(recommender: foveate.Recommender, small_bundle: Bundle) -> None:
    catalog = small_bundle.model.catalog
    main = catalog.frame["categories"].list.first().to_list()
    [(category, _)] = Counter(one for one in main if one).most_common()[-1:]

    def share(slate: Any) -> float:
        rows = catalog.items.encode(ids(slate))
        return float(np.mean([category in row for row in catalog.frame["categories"][rows].fill_null([]).to_list()]))

    usual = recommender.recommend("nobody knows me", k=20, seed=1)
    liked = recommender.recommend("nobody knows me", k=20, seed=1, likes={"categories": [category]})
    assert share(liked) > share(usual)
    session = recommender.recommend(likes={"categories": [category]}, k=20, seed=1)
    assert session.context.surface == "session"
    assert share(session) > share(usual)
    assert not session.cold


def test_liked_items_are_not_shown_and_what_stands_for_others_may_be(
    recommender: foveate.Recommender, small_bundle: Bundle
) -> None:
    catalog = small_bundle.model.catalog
    item, channel = catalog.items.ids[9], catalog.frame["channel_id"].drop_nulls()[0]
    stands = set(catalog.items.decode(stand_ins(small_bundle.model, Likes(channels=(channel,)))))
    assert stands
    slate = recommender.recommend(likes={"items": [item], "channels": [channel]}, k=100, seed=1)
    assert item not in ids(slate)
    assert stands & set(ids(slate))
    both = recommender.recommend(likes={"items": [min(stands)], "channels": [channel]}, k=100, seed=1)
    assert min(stands) not in ids(both)
    watched = recommender.recommend(watched=[max(stands)], likes={"channels": [channel]}, k=100, seed=1)
    assert max(stands) not in ids(watched)


def test_likes_of_things_that_are_not_there_are_refused(recommender: foveate.Recommender) -> None:
    with pytest.raises(RequestError, match=r"likes: the catalogue holds none of 'x', 'no such tag'"):
        recommender.recommend("u", likes={"items": ["x"], "tags": ["no such tag"]})
    with pytest.raises(RequestError, match="holds none of nothing"):
        recommender.recommend("u", likes={})
    with pytest.raises(ConfigError, match="colours"):
        recommender.recommend("u", likes={"colours": ["red"]})


def test_likes_come_over_http_and_are_explained_as_likes(small_api: httpx.Client, small_bundle: Bundle) -> None:
    catalog = small_bundle.model.catalog
    likes = {"items": catalog.items.ids[3:6], "tags": list(catalog.tag_names.ids[:1])}
    body = {"surface": "session", "likes": likes, "k": 5, "explain": True}
    answer = small_api.post("/v1/recommend", json=body)
    assert answer.status_code == 200, answer.text
    slate = answer.json()
    assert (slate["cold"], len(slate["items"])) == (False, 5)
    reasons = [item["explanation"]["sentence"] for item in slate["items"]]
    assert not any("you watched" in reason for reason in reasons)
    assert any(reason.startswith("Because you like what is like '") for reason in reasons)
    page = small_api.post("/v1/recommend", json={**body, "cursor": slate["cursor"]}).json()
    assert not {item["item_id"] for item in slate["items"]} & {item["item_id"] for item in page["items"]}
    home = small_api.post("/v1/recommend", json={"user_id": "a new one", "likes": likes, "k": 5}).json()
    assert {item["item_id"] for item in home["items"]} & {item["item_id"] for item in slate["items"]}
    refused = small_api.post("/v1/recommend", json={"surface": "session", "likes": {"items": ["absent"]}})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert "'absent'" in refused.json()["detail"]
