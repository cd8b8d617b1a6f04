"""A bundle that answers in this process: no server, nothing is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from foveate.api.answers import Absence, Explanation, ManyRecommendations, Recommendations
from foveate.bundle import Bundle, verify
from foveate.core.config import from_dict
from foveate.core.errors import RequestError
from foveate.core.messages import Filters, Likes, PastEvent, RecommendRequest, RequestContext, Slate
from foveate.recommend.explain import LocalExplainStages, explain, why_not
from foveate.recommend.pipeline import make_context, recommend, recommend_many
from foveate.releases.viewer_state import state_of
from foveate.state.base import utc_micros
from foveate.state.connect import StatePlace, open_viewers
from foveate.storage.transfer import local_copy

T = TypeVar("T")

_MOST = 1000
"""Items of one slate."""


def load(bundle: Bundle | str | Path, *, state: StatePlace | None = None) -> Recommender:
    """Load a bundle so that it can be asked.

    Parameters
    ----------
    bundle
        Its folder, its address at a store such as ``s3://BUCKET/BUNDLE``, or what :func:`foveate.train` returned.
    state
        Viewers' histories: a file, or an address such as ``redis://HOST:PORT/DB``. None takes those of the bundle's
        registry, or the file beside the bundle.

    Raises
    ------
    BundleError
        There is no bundle, or it was altered.
    StateError
        The histories cannot be read.

    Examples
    --------
    >>> import foveate
    >>> data = foveate.simulate(viewers=120, items=80, days=14)
    >>> bundle = foveate.train(data, {"sources": ["covisitation", "popularity"]})
    >>> foveate.load(bundle.path).bundle_id == bundle.bundle_id
    True
    """
    loaded = bundle if isinstance(bundle, Bundle) else Bundle.load(local_copy(bundle, verify))
    return Recommender(loaded, state)


class Recommender:
    """Answers requests by a bundle, also where an event loop runs already, as in a notebook.

    Parameters
    ----------
    bundle
        What was trained.
    state
        As for :func:`load`.

    Raises
    ------
    StateError
        The histories cannot be read.

    Examples
    --------
    >>> import foveate
    >>> data = foveate.simulate(viewers=120, items=80, days=14)
    >>> bundle = foveate.train(data, {"sources": ["covisitation", "popularity"]})
    >>> with foveate.Recommender(bundle) as model:
    ...     slate = model.recommend("u00017", k=3)
    ...     why = model.explain("u00017", k=3)
    >>> len(slate.items), why.items[0].item_id in slate.items
    (3, True)
    """

    def __init__(self, bundle: Bundle, state: StatePlace | None = None) -> None:
        self.bundle = bundle
        self._viewers = open_viewers(state or state_of(bundle.path), create=False)
        self._stages = LocalExplainStages(bundle.model, self._viewers)
        # Where a loop runs already, coroutines need a thread of their own; one thread keeps one connection.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="foveate")

    def __enter__(self) -> Recommender:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Recommender({self.bundle_id}, of {self.bundle.manifest.data})"

    def close(self) -> None:
        """Let go of the histories."""
        self._thread.shutdown()
        self._viewers.close()

    @property
    def bundle_id(self) -> str:
        """The hash of the bundle's contents."""
        return self.bundle.bundle_id

    def recommend(
        self,
        user_id: str = "",
        *,
        k: int | None = None,
        surface: str | None = None,
        watched: Sequence[str] = (),
        likes: Mapping[str, Sequence[str]] | None = None,
        related_to: str | None = None,
        diversity: float | None = None,
        filters: Filters | None = None,
        now: datetime | int | None = None,
        seed: int | None = None,
    ) -> Recommendations:
        """Choose a slate for a viewer, or for an anonymous visitor.

        Parameters
        ----------
        user_id
            The viewer; an unknown one gets a cold slate.
        k
            How many items; None takes the recipe's.
        surface
            Where it is shown; None takes ``session`` for an anonymous visitor with ``watched`` or ``likes``, else
            ``home``.
        watched
            What an anonymous visitor has watched, oldest first.
        likes
            What who asks says that they like: ``{"items": [...], "channels": [...], "categories": [...],
            "tags": [...]}``, or some of these.
        related_to
            The item that the surface ``related`` starts from.
        diversity
            Strength of the policy from 0 to 1, in place of the recipe's.
        filters
            What must not be shown.
        now
            Moment to answer for: a datetime (UTC where it names no zone) or UTC microseconds; None takes the clock.
        seed
            Of whatever is random; None draws one.

        Raises
        ------
        RequestError
            The request is malformed or names something unknown.
        """
        session = bool(watched) or (likes is not None and not user_id)
        request = self._request(
            user_id,
            k,
            surface=surface or ("session" if session else "home"),
            history=tuple(PastEvent(item_id) for item_id in watched) if session else None,
            likes=None if likes is None else from_dict(Likes, likes, "likes"),
            related_to=related_to,
            diversity=diversity,
            filters=filters or Filters(),
            now=now,
            seed=seed,
        )
        context = self._context(request)
        return self._answer(self._run(recommend(request, context, self._stages)), request, context)

    def recommend_many(
        self,
        user_ids: Sequence[str],
        *,
        k: int | None = None,
        surface: str = "home",
        now: datetime | int | None = None,
        seed: int | None = None,
    ) -> ManyRecommendations:
        """Choose a slate for each of several viewers; parameters and errors as :meth:`recommend` has them."""
        if isinstance(user_ids, str):
            raise RequestError(f"user_ids: a list of ids is expected, got the text '{user_ids}'; ask recommend for one")
        requests = [self._request(user_id, k, surface=surface, now=now, seed=seed) for user_id in user_ids]
        contexts = [self._context(request) for request in requests]
        slates = recommend_many(self.bundle.model, self._viewers, requests, contexts)
        return ManyRecommendations(tuple(map(self._answer, slates, requests, contexts)))

    def related(
        self, item_id: str, *, user_id: str = "", k: int | None = None, seed: int | None = None
    ) -> Recommendations:
        """Choose items that go with one; errors as :meth:`recommend` has them."""
        return self.recommend(user_id, k=k, surface="related", related_to=item_id, seed=seed)

    def explain(
        self, user_id: str, *, k: int | None = None, now: datetime | int | None = None, seed: int | None = None
    ) -> Explanation:
        """Say why each item of a viewer's slate stands in it; parameters and errors as :meth:`recommend` has them."""
        request = self._request(user_id, k, now=now, seed=seed)
        context = self._context(request)
        catalog = self.bundle.model.catalog
        _, explanation = self._run(explain(request, context, self._stages, catalog))
        return Explanation(explanation, context, self.bundle.manifest.simulated)

    def why_not(
        self,
        user_id: str,
        item_id: str,
        *,
        k: int | None = None,
        filters: Filters | None = None,
        now: datetime | int | None = None,
        seed: int | None = None,
    ) -> Absence:
        """Say where an item fell on its way to a slate; parameters and errors as :meth:`recommend` has them."""
        request = self._request(user_id, k, filters=filters or Filters(), now=now, seed=seed)
        context = self._context(request)
        answer = self._run(why_not(request, context, self._stages, self.bundle.model, item_id))
        return Absence(answer, context, self.bundle.manifest.simulated)

    def _answer(self, slate: Slate, request: RecommendRequest, context: RequestContext) -> Recommendations:
        return Recommendations(slate, request, context, self.bundle.manifest.simulated, self.bundle.model)

    def _request(self, user_id: str, k: int | None, *, now: datetime | int | None, **asked: Any) -> RecommendRequest:
        size = self.bundle.model.recipe.slate_size if k is None else k
        if not isinstance(user_id, str):
            raise RequestError(f"user_id: a text is expected, got {user_id!r}; write str({user_id!r})")
        if not 1 <= size <= _MOST:
            raise RequestError(f"k: from 1 to {_MOST} items can be asked for, got {size}")
        return RecommendRequest(user_id, k=size, now=_micros(now), **asked)

    def _context(self, request: RecommendRequest) -> RequestContext:
        return make_context(request, self.bundle_id, clock=utc_micros)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(work)
        return self._thread.submit(asyncio.run, work).result()


def _micros(moment: datetime | int | None) -> int | None:
    if isinstance(moment, datetime):
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
    return moment
