"""A trained two-stage model, and what it does with a batch of viewers.

Shapes: ``B`` queries, ``N`` candidates of one query, ``I`` items, ``C`` categories, ``D`` content
columns, ``K`` chosen items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from foveate.core.messages import NO_TIME, Candidates, Filters, Query, Ranked, ViewerHistory
from foveate.data.catalog import Catalog, Rows
from foveate.data.schema import EVENT_KINDS
from foveate.data.vocabulary import UNKNOWN
from foveate.features.sets import Clock, FeatureSet
from foveate.ranking.base import Ranker, score_each
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.extended import extended, padded
from foveate.retrieval.merge import gather
from foveate.retrieval.sparse import unit_rows
from foveate.slate.exploration.config import SlotDraw
from foveate.slate.inputs import LateInput, Selection, SlateInput
from foveate.slate.orders.base import Listed


@dataclass(frozen=True)
class Chosen:
    """A slate in codes.

    Parameters
    ----------
    items, scores
        ``[K]`` int32 item codes in slate order and their float32 ranker scores.
    positions
        ``[K]`` where each stands among the candidates.
    selection
        What the policy decided and what it cost.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    positions: NDArray[np.int64]
    selection: Selection


@dataclass(frozen=True)
class Model:
    """Sources, features, ranker and policy that were fitted together.

    Every method takes a batch, and answers for one query what it answers for it in any other batch.

    Parameters
    ----------
    recipe
        How it was trained.
    catalog
        The items.
    sources
        The fitted candidate sources, in the recipe's order.
    features
        The fitted features: the layout of a row and the item states.
    ranker
        The fitted ranker.
    positive_kinds
        Event kinds that count as interest.
    clock
        ``time``, or ``order`` where times are not read and a query's ``now`` may be ``NO_TIME``.
    item_vectors
        ``[I, D]`` float32 of unit length (or zero): the item vectors of the first source that learns some, None where
        none does. They stay when the sources are left out.
    trending
        ``[I]`` float32: the items' scores by the first source that scores alike for everyone, None where none does. A
        process without the sources answers by it when they cannot be reached.
    click_through
        ``[I]`` float32 share of its showings that each item was clicked in, where the recipe's order asks for it.
    """

    recipe: Recipe
    catalog: Catalog
    sources: tuple[CandidateSource, ...]
    features: FeatureSet
    ranker: Ranker
    positive_kinds: tuple[str, ...]
    clock: Clock
    item_vectors: NDArray[np.float32] | None = None
    trending: NDArray[np.float32] | None = None
    click_through: NDArray[np.float32] | None = None

    def extended(self, catalog: Catalog) -> Model:
        """Return the model over its own catalogue with changes: see :class:`~foveate.data.overlay.CatalogOverlay`.

        Sources that can place new items do; to the others, and to the features, nothing has happened to these yet.
        """
        count = catalog.appended
        return replace(
            self,
            catalog=catalog,
            sources=tuple(extended(source, catalog) for source in self.sources),
            features=self.features.extended(catalog),
            # Zero: by what is learned, a new item is like no other; its facts say more.
            item_vectors=padded(self.item_vectors, count),
            trending=padded(self.trending, count),
            click_through=padded(self.click_through, count),
        )

    def query(self, history: ViewerHistory, filters: Filters, now: int) -> Query:
        """Encode a viewer at a moment.

        Events on items that the catalogue does not hold are left out. What the viewer has met, what the filters forbid
        and what is not yet available at ``now`` (UTC microseconds) is excluded before anything is retrieved.
        """
        codes = self.catalog.items.encode(history.item_ids)
        known = codes != UNKNOWN
        kinds = np.array([EVENT_KINDS.index(kind) for kind in history.kinds], dtype=np.int8)[known]
        closed = np.flatnonzero(self.catalog.forbidden(filters, now))
        return Query(
            user_id=history.user_id,
            items=codes[known],
            times=history.times[known],
            kinds=kinds,
            values=history.values[known],
            positives=self._is_positive[kinds],
            exclude=np.union1d(codes[known], closed).astype(np.int32),
            now=now,
        )

    def candidates(self, queries: Sequence[Query]) -> list[Candidates]:
        """Ask every source, and return the union of what they offer for each query."""
        return gather(self.sources, queries, self.recipe.counts)

    def rank(self, queries: Sequence[Query], candidates: Sequence[Candidates]) -> list[Ranked]:
        """Build the features of every candidate and score them."""
        if not queries:
            return []
        matrices = self.features.build(queries, candidates)
        scores = score_each(self.ranker, matrices)
        return [Ranked(*parts) for parts in zip(queries, candidates, matrices, scores, strict=True)]

    def select(self, ranked: Ranked, size: int, seed: int, draw: SlotDraw | None = None) -> Chosen:
        """Choose a slate of up to ``size`` under the recipe's policy and constraints, explored by ``draw``."""
        selection = self.recipe.policy.select(self.slate_input(ranked), size, self.recipe.constraints, seed, draw)
        chosen = selection.chosen
        return Chosen(ranked.candidates.items[chosen], ranked.scores[chosen], chosen, selection)

    def slate_input(self, ranked: Ranked) -> SlateInput:
        """Return the candidates as a policy sees them: relevance is what the recipe's order makes of the scores."""
        catalog, items, query = self.catalog, ranked.candidates.items, ranked.query
        mix = cache(lambda: self._mix(items, query))
        return LateInput(
            {
                "relevance": lambda: self.recipe.order.relevance(
                    Listed(items, ranked.scores, catalog, self.click_through)
                ),
                "vectors": lambda: self.vectors(items),
                "channel": lambda: catalog.channel[items],
                "category": lambda: catalog.main_category[items],
                "codes": lambda: items,
                "categories": lambda: mix().shares,
                "category_names": lambda: mix().names,
                "taste": lambda: mix().taste,
                "tags": lambda: _tags(catalog, items),
                "age_days": lambda: catalog.age_days(items, query.now),
                "channel_standing": lambda: catalog.channel_standing[items],
                "safety": lambda: catalog.safety[items],
                "duration": lambda: catalog.duration[items],
                "channels": lambda: catalog.channels,
            }
        )

    def _mix(self, items: NDArray[np.int32], query: Query) -> _Mix:
        shares, taste = Rows.of(self.category_shares, items), self.taste(query)
        columns = np.union1d(shares.used(), np.flatnonzero(taste)).astype(np.int32)
        names = tuple(self.catalog.category_names.decode(columns))
        return _Mix(np.asarray(shares.dense(columns), dtype=np.float32), names, taste[columns])

    def taste(self, query: Query) -> NDArray[np.float32]:
        """Return ``[C]`` the share of each category in what the viewer liked, of sum 1, or 0 where nothing is known."""
        shares = self.category_shares
        weight_C = Rows.of(shares, query.items[query.positives]).sums(shares.shape[1])
        return np.asarray(weight_C / max(weight_C.sum(), np.finfo(np.float64).tiny), dtype=np.float32)

    def vectors(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N, D]`` vectors whose dot products say how alike items are, by what the recipe's ``likeness`` asks.

        Where nothing was learned of the items, facts stand in for it.
        """
        if self.item_vectors is None or self.recipe.likeness == "facts":
            return self.content(items)
        if self.recipe.likeness == "learned":
            return self.item_vectors[items]
        # The dot product of two such rows is the mean of both likenesses.
        return np.concatenate([self.content(items), self.item_vectors[items]], axis=1) * np.float32(np.sqrt(0.5))

    def content(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N, D]`` content vectors of unit length, zero for an item that nothing is known of.

        Only columns that some of ``items`` have are kept, so ``D`` differs from call to call and dot products do not.
        """
        rows = Rows.of(self._content, items)
        return np.asarray(rows.dense(rows.used()), dtype=np.float32)

    @property
    def category_shares(self) -> sparse.csr_matrix:
        """``[I, C]``: each item's categories in equal shares."""
        # Kept with the catalogue, so that models of one catalogue share it.
        return self.catalog.once("category_shares", lambda: _category_shares(self.catalog))

    @property
    def _content(self) -> sparse.csr_matrix:
        return self.catalog.once("content", lambda: _content_of(self.catalog))

    @cached_property
    def _is_positive(self) -> NDArray[np.bool_]:
        return np.array([kind in self.positive_kinds for kind in EVENT_KINDS])


@dataclass(frozen=True)
class _Mix:
    """The categories that some candidates or a viewer's history have.

    ``shares`` ``[N, C]`` are those of each candidate, ``taste`` ``[C]`` those of the history, as a policy sees them.
    """

    shares: NDArray[np.float32]
    names: tuple[str, ...]
    taste: NDArray[np.float32]


def _tags(catalog: Catalog, items: NDArray[np.int32]) -> NDArray[np.bool_]:
    rows = Rows.of(catalog.tags, items)
    return np.asarray(rows.dense(rows.used()), dtype=bool)


def learned_vectors(sources: Sequence[CandidateSource]) -> NDArray[np.float32] | None:
    """Return the item vectors of the first source that learns some, brought to unit length."""
    for source in sources:
        vectors_ID = source.item_vectors
        if vectors_ID is not None:
            lengths_I1 = np.linalg.norm(vectors_ID, axis=1, keepdims=True)
            return np.asarray(vectors_ID / np.where(lengths_I1 > 0, lengths_I1, 1.0), dtype=np.float32)
    return None


def trending_scores(sources: Sequence[CandidateSource]) -> NDArray[np.float32] | None:
    """Return the scores of the first source that scores alike for everyone."""
    empty_query = _empty_query()
    return next((source.scores([empty_query])[0] for source in sources if not source.reads_history), None)


def _empty_query() -> Query:
    none = np.empty(0, dtype=np.int32)
    return Query(
        user_id="",
        items=none,
        times=none.astype(np.int64),
        kinds=none.astype(np.int8),
        values=none.astype(np.float32),
        positives=none.astype(np.bool_),
        exclude=none,
        now=NO_TIME,
    )


def _category_shares(catalog: Catalog) -> sparse.csr_matrix:
    categories = catalog.categories.astype(np.float32)
    counts = np.asarray(categories.sum(axis=1)).ravel()
    return (sparse.diags(1.0 / np.maximum(counts, 1.0)) @ categories).tocsr()


def _content_of(catalog: Catalog) -> sparse.csr_matrix:
    channel, rows = catalog.channel, np.flatnonzero(catalog.channel != UNKNOWN)
    shape = (len(catalog), len(catalog.channels))
    channels = sparse.csr_matrix((np.ones(len(rows)), (rows, channel[rows])), shape=shape)
    parts = [channels, *(m.astype(np.float64) for m in (catalog.categories, catalog.tags))]
    # Each kind of fact weighs the same, however many tags an item carries.
    return unit_rows(sparse.hstack([unit_rows(part) for part in parts], format="csr"))
