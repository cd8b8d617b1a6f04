"""Golden requests: questions that a bundle answered when it was made, and must answer alike wherever it is loaded.

A checksum says that the files are the same; this says that what is made of them is: by another Foveate, another library
or another machine. The viewers asked about are made up of catalogue items, so no real one's history is in it.

Shapes: ``N`` candidates, ``S`` sources, ``R`` remarks of theirs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveate.core.config import FORMER_NAME, from_dict, to_dict
from foveate.core.errors import BundleError, ConfigError
from foveate.core.messages import (
    NO_TIME,
    Candidates,
    Filters,
    Query,
    RecommendRequest,
    RequestContext,
    Slate,
    ViewerHistory,
)
from foveate.recommend.model import Model
from foveate.recommend.pipeline import select

FILE: Final = "golden.json"

_TOLERANCE: Final = 1e-4
_HISTORIES: Final = (0, 1, 3, 10)
"""How many items each made-up viewer has liked."""
_TOP: Final = 8
"""How many of each source's best are kept."""
_BETWEEN: Final = 3_600_000_000
"""Microseconds between a viewer's events."""

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class GoldenRequest:
    """One question and its answer.

    Parameters
    ----------
    history
        Ids of what the viewer liked, oldest first.
    items, scores, offered, source_features
        The best of each source together: ids, and ``[N, S]`` scores, ``[N, S]`` who offered them, ``[N, R]`` remarks.
    ranked
        ``[N]`` what the ranker says of exactly these.
    slate
        Ids of what the policy chooses among them.
    """

    history: tuple[str, ...]
    items: tuple[str, ...]
    scores: Rows
    offered: tuple[tuple[bool, ...], ...]
    source_features: Rows = field(metadata={FORMER_NAME: "remarks"})
    ranked: tuple[float, ...] = ()
    slate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Golden:
    """The golden requests of a bundle, at one moment (UTC microseconds, ``NO_TIME`` where the clock is order only).

    ``tolerance`` is the largest difference of a score that counts as the same, relative and absolute.
    """

    now: int
    tolerance: float
    requests: tuple[GoldenRequest, ...]

    @classmethod
    def of(cls, model: Model, learned_until: int | None) -> Golden:
        """Ask a model that was just trained."""
        now = _moment(model, learned_until)
        histories = [_history(model, count) for count in _HISTORIES]
        queries = [_query(model, history, now) for history in histories]
        asked = [_best(model, *one) for one in zip(histories, model.candidates(queries), strict=True)]
        slates = _slates(model, queries, asked)
        return cls(now, _TOLERANCE, tuple(_answered(*one) for one in zip(asked, slates, strict=True)))

    @classmethod
    def read(cls, content: bytes) -> Golden:
        """Read what :meth:`written` gave.

        Raises
        ------
        BundleError
            It is damaged.
        """
        try:
            return from_dict(cls, json.loads(content))
        except (ValueError, ConfigError) as error:
            raise BundleError(f"'{FILE}' is damaged: {error}") from error

    def written(self) -> bytes:
        """Return it as a file; numbers that are not finite stand there as texts."""
        return (json.dumps(_spelled(to_dict(self)), indent=1, allow_nan=False) + "\n").encode()

    def check_retrieval(self, model: Model, *, at_least: bool = False) -> None:
        """Have a model's sources answer again.

        Parameters
        ----------
        at_least
            Whether a source may have better items at its top: one that scores every item where the bundle was asked
            through an index, which misses some.

        Raises
        ------
        BundleError
            They answer otherwise.
        """
        queries = [_query(model, request.history, self.now) for request in self.requests]
        for number, (request, found) in enumerate(zip(self.requests, model.candidates(queries), strict=True), 1):
            expected = _candidates(model, request, found.sources, found.source_feature_names)
            self._refuse(number, self._retrieved_otherwise(model, expected, found, at_least=at_least))

    def check_ranking(self, model: Model) -> None:
        """Have a model's ranker and policy answer again.

        Raises
        ------
        BundleError
            They answer otherwise.
        """
        queries = [_query(model, request.history, self.now) for request in self.requests]
        slates = _slates(model, queries, self.requests)
        for number, (request, slate) in enumerate(zip(self.requests, slates, strict=True), 1):
            self._refuse(number, self._ranked_otherwise(request, slate))

    def _refuse(self, number: int, differences: Iterator[str]) -> None:
        for difference in differences:
            which = f"golden request {number} of {len(self.requests)}"
            remedy = "it was altered, or this machine does not compute as the one that made it: train again"
            raise BundleError(f"{which}: {difference} (tolerance {self.tolerance:g}): {remedy}")

    def _retrieved_otherwise(
        self, model: Model, expected: Candidates, found: Candidates, *, at_least: bool
    ) -> Iterator[str]:
        ids = model.catalog.items.decode(expected.items)
        there_N = np.isin(expected.items, found.items)
        for row in np.flatnonzero(~there_N):
            if not (at_least and _crowded_out(expected, int(row), found)):
                yield f"item '{ids[row]}' is not retrieved any more"
                return
        kept = np.flatnonzero(there_N)
        rows = np.searchsorted(found.items, expected.items[kept])
        for names, was_N, now_N in (
            (found.sources, expected.scores[kept], found.scores[rows]),
            (found.source_feature_names, expected.source_features[kept], found.source_features[rows]),
        ):
            for row, column in np.argwhere(~self._close(was_N, now_N)):
                said = f"{now_N[row, column]:.6g}, expected {was_N[row, column]:.6g}"
                yield f"'{names[column]}' says of item '{ids[kept[row]]}' {said}"
        for column, source in enumerate(found.sources):
            was, now = (_top(one, column) for one in (expected, found))
            if not np.all(self._close(was, now[: len(was)]) | (at_least and now[: len(was)] > was)):
                yield f"'{source}' has other items at its top"

    def _ranked_otherwise(self, request: GoldenRequest, answer: tuple[NDArray[np.float32], Slate]) -> Iterator[str]:
        scores_N, slate = answer
        for row in np.flatnonzero(~self._close(np.array(request.ranked, dtype=np.float32), scores_N)):
            said = f"{scores_N[row]:.6g}, expected {request.ranked[row]:.6g}"
            yield f"the ranker scores item '{request.items[row]}' {said}"
        score_of = dict(zip(request.items, scores_N, strict=True))
        expected, chosen = ([float(score_of[item]) for item in ids] for ids in (request.slate, _ids(slate)))
        # Items that tie may change places.
        if len(expected) != len(chosen) or not np.all(self._close(expected, chosen)):
            yield f"the slate is {', '.join(_ids(slate))}, expected {', '.join(request.slate)}"

    def _close(self, was: ArrayLike, now: ArrayLike) -> NDArray[np.bool_]:
        return np.isclose(now, was, rtol=self.tolerance, atol=self.tolerance, equal_nan=True)


def _moment(model: Model, learned_until: int | None) -> int:
    if model.clock == "order":
        return NO_TIME
    known = model.catalog.available_from
    return max(int(known.max(initial=0)), 0 if learned_until in (None, NO_TIME) else int(learned_until or 0))


def _history(model: Model, count: int) -> tuple[str, ...]:
    """Return items from all over the catalogue."""
    ids = model.catalog.items.ids
    codes = dict.fromkeys(np.linspace(0, len(ids) - 1, count + 2)[1:-1].astype(int)) if len(ids) else {}
    return tuple(ids[code] for code in codes)


def _query(model: Model, history: Sequence[str], now: int) -> Query:
    n = len(history)
    times = np.full(n, now, dtype=np.int64)
    if now != NO_TIME:
        times -= _BETWEEN * np.arange(n, 0, -1)
    kinds = model.positive_kinds[:1] * n
    viewer = ViewerHistory("golden", tuple(history), kinds, np.ones(n, dtype=np.float32), times)
    return model.query(viewer, Filters(), now)


def _best(model: Model, history: tuple[str, ...], found: Candidates) -> GoldenRequest:
    """Keep the top of each source."""
    kept = np.zeros(len(found.items), dtype=bool)
    for column in range(len(found.sources)):
        offered = np.flatnonzero(found.offered[:, column])
        kept[offered[np.argsort(-found.scores[offered, column], kind="stable")[:_TOP]]] = True
    return GoldenRequest(
        history=history,
        items=tuple(model.catalog.items.decode(found.items[kept])),
        scores=_rows(found.scores[kept]),
        offered=tuple(tuple(bool(one) for one in row) for row in found.offered[kept]),
        source_features=_rows(found.source_features[kept]),
    )


def _answered(request: GoldenRequest, answer: tuple[NDArray[np.float32], Slate]) -> GoldenRequest:
    scores_N, slate = answer
    return replace(request, ranked=tuple(map(_plain, scores_N)), slate=_ids(slate))


def _slates(
    model: Model, queries: Sequence[Query], requests: Sequence[GoldenRequest]
) -> list[tuple[NDArray[np.float32], Slate]]:
    """Rank what the requests name, and choose among it."""
    sources, source_features = model.features.sources, model.features.source_features
    ranked = model.rank(queries, [_candidates(model, request, sources, source_features) for request in requests])
    asked = [RecommendRequest(query.user_id, k=model.recipe.slate_size, seed=0) for query in queries]
    contexts = [RequestContext("golden", query.now, "", 0, "home", 0, Filters()) for query in queries]
    slates = select(model, asked, ranked, contexts)
    return [(one.scores, slate) for one, slate in zip(ranked, slates, strict=True)]


def _candidates(
    model: Model, request: GoldenRequest, sources: tuple[str, ...], source_features: tuple[str, ...]
) -> Candidates:
    n = len(request.items)
    return Candidates(
        items=model.catalog.items.encode(request.items),
        sources=sources,
        scores=np.array(request.scores, dtype=np.float32).reshape(n, len(sources)),
        offered=np.array(request.offered, dtype=bool).reshape(n, len(sources)),
        source_feature_names=source_features,
        source_features=np.array(request.source_features, dtype=np.float32).reshape(n, len(source_features)),
    )


def _top(candidates: Candidates, column: int) -> NDArray[np.float32]:
    """Return a source's best scores, best first."""
    offered = candidates.scores[candidates.offered[:, column], column]
    return -np.sort(-offered)[:_TOP]


def _crowded_out(expected: Candidates, row: int, found: Candidates) -> bool:
    """Whether each source that offered an item offers others now that it scores no lower."""
    return all(
        expected.scores[row, column] <= found.scores[found.offered[:, column], column].min(initial=np.inf)
        and found.offered[:, column].any()
        for column in np.flatnonzero(expected.offered[row])
    )


def _ids(slate: Slate) -> tuple[str, ...]:
    return tuple(item.item_id for item in slate.items)


def _rows(values: NDArray[np.float32]) -> Rows:
    return tuple(tuple(map(_plain, row)) for row in values)


def _plain(value: np.float32) -> float:
    # The shortest text that reads as the same float32.
    return float(str(value))


def _spelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    return value if not isinstance(value, float) or np.isfinite(value) else str(value)
