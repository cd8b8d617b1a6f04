"""The stages behind an ingress: deadlines, lost replicas, and what stands in for a stage. Real bundle, real store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.handle import DeploymentHandle

from foveate.bundle import Bundle, default_state
from foveate.core.errors import StateError
from foveate.core.messages import Filters, RecommendRequest, Slate, ViewerHistory
from foveate.recommend.explain import StageLostError, explain
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.state.base import utc_micros
from foveate.state.sqlite.store import SqliteState
from foveate_serve.bundles.slots import BundleNotHeldError, BundleSlots
from foveate_serve.stages.guarded import Guarded, LostError
from foveate_serve.stages.local import Hydrator, Ranker, Retriever
from foveate_serve.stages.remote import RankerStage, RemoteRanker, RetrieverStage
from foveate_serve.stages.served import ServedStages

REQUEST = RecommendRequest("u3", k=5, seed=1)
BUDGET = 60_000_000
"""Microseconds that no machine is too busy for."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Leave one stage a small share of the time; the others keep theirs."""
    return lambda share: monkeypatch.setattr(f"foveate_serve.stages.served.{share}", 0.002)


class Response:
    """What a handle's call gives: awaited for the answer, cancelled when nobody waits."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self.task = asyncio.ensure_future(work)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.task.__await__()

    def cancel(self) -> None:
        self.task.cancel()


class Handle:
    """A handle whose n-th call does the n-th piece of work."""

    def __init__(self, *work: Callable[[], Awaitable[Any]]) -> None:
        self.work = list(work)
        self.responses: list[Response] = []
        self.answer = self

    def remote(self, *args: Any) -> Response:
        self.responses.append(Response(self.work.pop(0)()))
        return self.responses[-1]

    async def ask(self) -> Any:
        ranker = RemoteRanker("ranker", cast("DeploymentHandle[Any]", self))
        nothing: Any = None
        return await ranker.answer(REQUEST, nothing, nothing, nothing)


async def slow() -> Any:
    await asyncio.sleep(60)


async def quick() -> str:
    return "done"


async def lost() -> Any:
    raise ActorDiedError


class Broken:
    """A stage of which every method fails."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.work = work
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def method(*args: Any) -> Any:
            self.calls += 1
            return await self.work()

        return method


class Ground:
    """The stages of a bundle in this process, any of which may be replaced."""

    def __init__(self, bundle: Bundle, **replaced: Any) -> None:
        self.bundle = bundle
        slots = BundleSlots("ingress", lambda path: bundle)
        asyncio.run(slots.load(Path()))
        retriever, ranker = replaced.get("retriever"), replaced.get("ranker")
        self.retriever: Guarded[RetrieverStage] = Guarded("retriever", retriever or Retriever(slots, 8))
        self.ranker: Guarded[RankerStage] = Guarded("ranker", ranker or Ranker(slots, 8))
        self.state = replaced.get("state") or SqliteState(default_state(bundle.path))

    def ask(self, request: RecommendRequest = REQUEST, times: int = 1) -> tuple[Slate, list[str]]:
        async def asked() -> tuple[Slate, list[str]]:
            hydrator = Guarded("hydrator", Hydrator(self.state, 8))
            for _ in range(times):
                context = make_context(request, self.bundle.bundle_id, clock=utc_micros, budget=BUDGET)
                stages = ServedStages(self.bundle.model, hydrator, self.retriever, self.ranker, BUDGET / 1e6)
                slate = await recommend(request, context, stages)
            return slate, stages.degraded

        return asyncio.run(asked())


@pytest.fixture
def in_process(small_bundle: Bundle) -> Slate:
    stages = LocalStages(small_bundle.model, SqliteState(default_state(small_bundle.path)))
    context = make_context(REQUEST, small_bundle.bundle_id, clock=utc_micros)
    return asyncio.run(recommend(REQUEST, context, stages))


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def test_a_cancelled_call_ends_the_work() -> None:
    async def ask() -> Handle:
        handle = Handle(slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await handle.ask()
        await asyncio.sleep(0)
        return handle

    [response] = asyncio.run(ask()).responses
    assert response.task.cancelled()


def test_a_lost_replica_is_asked_again_once() -> None:
    async def ask(*work: Callable[[], Awaitable[Any]]) -> int:
        handle = Handle(*work)
        assert await handle.ask() == "done"
        return len(handle.responses)

    assert asyncio.run(ask(quick)) == 1
    assert asyncio.run(ask(lost, quick)) == 2
    with pytest.raises(ActorDiedError):
        asyncio.run(ask(lost, lost, quick))


def test_a_client_in_a_hurry_does_not_cost_others_a_stage() -> None:
    async def ask(guarded: Guarded[Broken], seconds: float) -> bool:
        for _ in range(5):
            with pytest.raises(LostError):
                async with guarded.within(seconds) as stage:
                    await stage.answer()
        return guarded.breaker.may_ask()

    assert asyncio.run(ask(Guarded("ranker", Broken(slow), patience_s=0.2), 0.01))
    assert not asyncio.run(ask(Guarded("ranker", Broken(slow), patience_s=0.01), 0.01))
    assert not asyncio.run(ask(Guarded("ranker", Broken(lost), patience_s=0.2), 0.01))


def test_whole_stages_answer_as_the_pipeline_does_in_process(small_bundle: Bundle, in_process: Slate) -> None:
    slate, degraded = Ground(small_bundle).ask()
    assert not degraded
    assert ids(slate) == ids(in_process)


@pytest.mark.parametrize(("work", "reason"), [(slow, "ranker_slow"), (lost, "ranker_lost")])
def test_without_the_ranker_the_order_of_retrieval_answers(
    small_bundle: Bundle, work: Callable[[], Awaitable[Any]], reason: str, short: Callable[[str], None]
) -> None:
    if work is slow:
        short("RANKING_SHARE")
    slate, degraded = Ground(small_bundle, ranker=Broken(work)).ask()
    assert degraded == [reason]
    assert len(set(ids(slate))) == 5
    assert slate.feature_schema == ""


@pytest.mark.parametrize(("work", "reason"), [(slow, "retriever_slow"), (lost, "retriever_lost")])
def test_without_the_retriever_what_everyone_watches_answers(
    small_bundle: Bundle, work: Callable[[], Awaitable[Any]], reason: str, short: Callable[[str], None]
) -> None:
    if work is slow:
        short("RETRIEVAL_SHARE")
    ranker = Broken(quick)
    seen = set(SqliteState(default_state(small_bundle.path)).history("u3").item_ids)
    slate, degraded = Ground(small_bundle, retriever=Broken(work), ranker=ranker).ask()
    assert degraded == [reason]
    assert ranker.calls == 0
    assert all(item.sources == ("trending",) for item in slate.items)
    assert len(ids(slate)) == 5
    assert not seen & set(ids(slate))


def test_what_a_request_forbids_stays_forbidden_without_the_retriever(small_bundle: Bundle) -> None:
    ground = Ground(small_bundle, retriever=Broken(lost))
    first, _ = ground.ask()
    again = RecommendRequest("u3", k=5, seed=1, filters=Filters(exclude_items=tuple(ids(first))))
    assert not set(ids(first)) & set(ids(ground.ask(again)[0]))


def test_a_stage_that_failed_some_requests_is_not_waited_for_by_the_next(small_bundle: Bundle) -> None:
    ranker = Broken(lost)
    ground = Ground(small_bundle, ranker=ranker)
    slate, degraded = ground.ask(times=20)
    assert degraded == ["ranker_lost"]
    assert len(slate.items) == 5
    assert 3 <= ranker.calls < 20


def test_a_store_that_is_gone_makes_the_viewer_new(small_bundle: Bundle) -> None:
    class Gone:
        def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
            raise StateError("the disk is gone")

    slate, degraded = Ground(small_bundle, state=Gone()).ask()
    assert degraded == ["history_unavailable"]
    assert len(slate.items) == 5
    assert slate.state_version == 0


def test_a_bundle_that_is_not_held_is_no_failure_of_the_stage(small_bundle: Bundle) -> None:
    async def other() -> Any:
        raise BundleNotHeldError("not here")

    ground = Ground(small_bundle, ranker=Broken(other))
    with pytest.raises(BundleNotHeldError):
        ground.ask()
    assert ground.ranker.breaker.may_ask()


def test_a_slate_without_a_ranker_is_not_explained(small_bundle: Bundle) -> None:
    async def asked() -> None:
        context = make_context(REQUEST, small_bundle.bundle_id, clock=utc_micros, budget=BUDGET)
        hydrator = Guarded("hydrator", Hydrator(ground.state, 8))
        stages = ServedStages(small_bundle.model, hydrator, ground.retriever, ground.ranker, 3.0)
        await explain(REQUEST, context, stages, small_bundle.model.catalog)

    ground = Ground(small_bundle, ranker=Broken(slow))
    with pytest.raises(StageLostError, match="ranker_slow"):
        asyncio.run(asked())


class SlowFor:
    """A store that takes long to read one viewer, and not the others."""

    def __init__(self, state: SqliteState, user: str, seconds: float) -> None:
        self.state, self.user, self.seconds = state, user, seconds

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        if self.user in user_ids:
            time.sleep(self.seconds)
        return self.state.histories(user_ids)


def test_a_slow_read_costs_its_own_viewer_the_history_and_nobody_the_deadline(small_bundle: Bundle) -> None:
    budget, read_s = 4_000_000, 8.0
    ground = Ground(small_bundle)
    users = ground.state.users(8)
    state: Any = SlowFor(ground.state, users[0], read_s)

    async def asked() -> tuple[float, list[Slate]]:
        hydrator = Guarded("hydrator", Hydrator(state, 8))

        async def one(user: str) -> Slate:
            request = RecommendRequest(user, k=5, seed=1)
            context = make_context(request, small_bundle.bundle_id, clock=utc_micros, budget=budget)
            stages = ServedStages(small_bundle.model, hydrator, ground.retriever, ground.ranker, budget / 1e6)
            return await recommend(request, context, stages)

        began = time.perf_counter()
        tasks = [asyncio.create_task(one(users[0]))]
        await asyncio.sleep(0.2)
        tasks += [asyncio.create_task(one(user)) for user in users[1:]]
        slates = list(await asyncio.gather(*tasks))
        return time.perf_counter() - began, slates

    took, [slow_one, *others] = asyncio.run(asked())
    assert took < budget / 1e6
    assert (slow_one.degraded, slow_one.state_version, len(slow_one.items)) == (("hydrator_slow",), 0, 5)
    assert [(one.degraded, one.state_version > 0) for one in others] == [((), True)] * len(others)
