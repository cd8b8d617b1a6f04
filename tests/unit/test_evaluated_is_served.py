"""What evaluation counts is what viewers are served: the same slates, by the same functions."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np

from foveate.bundle import Bundle, default_state
from foveate.core.config import to_dict
from foveate.core.messages import RecommendRequest, Slate
from foveate.evaluation.outcomes import SLATE, SLATE_SIZE, Subject, answer, asked_of
from foveate.evaluation.panel import Panel
from foveate.recommend.pipeline import hydrate, make_context
from foveate.state.sqlite.store import SqliteState
from foveate_serve.config import ServeConfig
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY

NOW = 1_742_169_600_000_000  # the end of the small world's two weeks
VIEWERS = 200


def panel(bundle: Bundle) -> Panel:
    """Ask for viewers as their histories are now; what they went on to like does not matter here."""
    with SqliteState(default_state(bundle.path)) as state:
        users = state.users(VIEWERS)
        requests = [RecommendRequest(user, now=NOW) for user in users]
        contexts = [make_context(one, bundle.bundle_id, clock=lambda: NOW) for one in requests]
        queries = [query for query, _ in hydrate(bundle.model, state, requests, contexts)]
    targets = np.zeros(len(users), dtype=np.int32)
    return Panel(queries, np.arange(len(users) + 1), targets, np.ones(len(users), dtype=bool))


def test_evaluations_slate_is_the_served_slate(small_bundle: Bundle, tmp_path: Path) -> None:
    asked = panel(small_bundle)
    assert len(asked.queries) == VIEWERS
    outcomes = answer(Subject(small_bundle.model, small_bundle.model.sources), asked, 3, lambda _: None)
    evaluated = outcomes.by_model[SLATE].all_lists()
    state = tmp_path / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    requests, _ = asked_of(asked, 3)

    async def served() -> list[Slate]:
        ingress = Ingress(to_dict(ServeConfig(topology="fused", deadline_ms=60_000)), str(state))
        await ingress.reconfigure({BUNDLE_KEY: str(small_bundle.path)})
        # All at once, so that the stages gather batches as they do for many clients.
        return [slate for slate, _, _ in await asyncio.gather(*(ingress.recommend(one) for one in requests))]

    slates = asyncio.run(served())
    decode = small_bundle.model.catalog.items.decode
    for slate, codes in zip(slates, evaluated, strict=True):
        assert not slate.degraded
        assert len(slate.items) == SLATE_SIZE
        assert [item.item_id for item in slate.items] == list(decode(codes))
