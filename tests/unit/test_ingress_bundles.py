"""An ingress among replicas that do not all hold the same bundles, as when a server is mended while it is swapped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from itertools import count, cycle
from pathlib import Path
from typing import Any, cast

import pytest
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle
from foveate.core.config import to_dict
from foveate.core.messages import RecommendRequest
from foveate.state.connect import check_state
from foveate_serve.bundles.slots import BundleNotHeldError, BundleSlots
from foveate_serve.config import ServeConfig
from foveate_serve.ingress import Ingress
from foveate_serve.names import BUNDLE_KEY
from foveate_serve.stages.local import Ranker, Retriever

REQUEST = RecommendRequest("u3", k=5, seed=1)
Stage = Callable[[BundleSlots, int], Any]


class Fleet:
    """A handle whose replicas, each holding one bundle, answer in turn."""

    def __init__(self, stage: Stage, held: Sequence[Bundle]) -> None:
        all_slots = [BundleSlots("stage", lambda path, bundle=bundle: bundle) for bundle in held]  # type: ignore[misc]
        for slots in all_slots:
            asyncio.run(slots.load(Path()))
        self._turns = cycle([stage(slots, 8) for slots in all_slots])

    def __getattr__(self, method: str) -> Method:
        return Method(self._turns, method)

    def handle(self) -> DeploymentHandle[Any]:
        return cast("DeploymentHandle[Any]", self)


class Method:
    """A method of whose turn it is."""

    def __init__(self, turns: cycle[Any], name: str) -> None:
        self._turns = turns
        self._name = name

    def remote(self, *args: Any) -> Response:
        return Response(getattr(next(self._turns), self._name)(*args))


class Response:
    """What is awaited for an answer, and cancelled when nobody waits."""

    def __init__(self, work: Any) -> None:
        self._task = asyncio.ensure_future(work)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    def cancel(self) -> None:
        self._task.cancel()


@pytest.fixture(scope="module")
def second(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("second") / "bundle"
    return Bundle.save(small_bundle.model, path, data_hash="", parent=small_bundle.bundle_id)


def ingress(held: Sequence[Bundle], state: Path, rankers: Sequence[Bundle], deadline_ms: int) -> Ingress:
    """Make one that took these bundles in order; retrievers hold the newest, rankers one each."""
    check_state(state)
    fleets = (Fleet(Retriever, held[-1:]), Fleet(Ranker, rankers))
    made = Ingress(to_dict(ServeConfig(deadline_ms=deadline_ms)), str(state), *(fleet.handle() for fleet in fleets))
    for bundle in held:
        asyncio.run(made.reconfigure({BUNDLE_KEY: str(bundle.path)}))
    return made


def test_a_request_that_meets_replicas_without_a_bundle_in_common_is_asked_again(
    small_bundle: Bundle, second: Bundle, tmp_path: Path
) -> None:
    # One ranker was there before the swap and has not taken the new bundle yet, the other has just started with it.
    rankers = (small_bundle, small_bundle, second)
    made = ingress((small_bundle, second), tmp_path / "state.sqlite", rankers, 60_000)
    slate, _, bundle = asyncio.run(made.recommend(REQUEST))
    assert bundle.bundle_id == second.bundle_id
    assert len(slate.items) == 5
    assert not slate.degraded


def test_where_no_replica_comes_to_hold_it_the_deadline_ends_the_asking(
    small_bundle: Bundle, second: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ingress((small_bundle, second), tmp_path / "state.sqlite", (small_bundle,), 600_000)
    # Each reading of its clock lasts two minutes: no machine is too slow for the stages.
    readings = count(0, 120)
    monkeypatch.setattr("foveate_serve.ingress.monotonic", lambda: next(readings))
    with pytest.raises(BundleNotHeldError, match="no bundle is held by every replica yet"):
        asyncio.run(made.recommend(REQUEST))
    # One reading sets the end, four allow an attempt, and the sixth is at the end.
    assert next(readings) == 6 * 120
