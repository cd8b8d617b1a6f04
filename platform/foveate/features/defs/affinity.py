"""Share of a viewer's recent interest with the candidate's channel, categories or tags."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.features.core import Event, Feature, FeatureRows, Group, State
from foveate.features.past import ByKey, Ints, Tokens, moments_of, ratio, recent, sums

LAST_EVENTS = 50


class Affinity(Feature):
    """Over the last 50 events, for the tokens of a candidate.

    ``share`` is the part of the positive events that carry a token, ``weight`` the mean signal weight of the events
    that do (a hide weighs against), both averaged over the candidate's tokens; ``since`` is the log of how many events
    ago any of them was last met, that of 51 where not at all.
    """

    scope: ClassVar[Literal["item", "viewer"]] = "viewer"
    group: ClassVar[Group] = "cross"

    def tokens(self, catalog: Catalog) -> Tokens:
        """Return what items are made of, in this feature's eyes."""
        raise NotImplementedError

    def start(self, catalog: Catalog) -> State:
        return {"tokens": self.tokens(catalog), "events": deque(maxlen=LAST_EVENTS)}

    def update(self, state: State, event: Event) -> None:
        state["events"].append(event)

    def read(self, state: State, query: Query, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.array([_read_one(state, int(item)) for item in items], dtype=np.float32).reshape(len(items), 3)

    def as_of(self, events: Events, catalog: Catalog, rows: FeatureRows) -> NDArray[np.float32]:
        return rows.once_beside(events, "affinity", lambda: _of_all(events, catalog, rows))[type(self).name]


@dataclass(frozen=True)
class ChannelAffinity(Affinity):
    """Interest in the candidate's channel."""

    name: ClassVar[str] = "channel_affinity"
    columns: ClassVar[tuple[str, ...]] = ("channel_share", "channel_weight", "channel_since")

    def tokens(self, catalog: Catalog) -> Tokens:
        return Tokens.of_codes(catalog.channel, len(catalog.channels))


@dataclass(frozen=True)
class CategoryAffinity(Affinity):
    """Interest in the candidate's categories."""

    name: ClassVar[str] = "category_affinity"
    columns: ClassVar[tuple[str, ...]] = ("category_share", "category_weight", "category_since")

    def tokens(self, catalog: Catalog) -> Tokens:
        return Tokens.of_matrix(catalog.categories)


@dataclass(frozen=True)
class TagAffinity(Affinity):
    """Interest in the candidate's tags."""

    name: ClassVar[str] = "tag_affinity"
    columns: ClassVar[tuple[str, ...]] = ("tag_share", "tag_weight", "tag_since")

    def tokens(self, catalog: Catalog) -> Tokens:
        return Tokens.of_matrix(catalog.tags)


def _of_all(events: Events, catalog: Catalog, rows: FeatureRows) -> dict[str, NDArray[np.float32]]:
    """Return what each affinity answers: one pass over the tokens of all of them costs little more than of one."""
    names, tokens, kind_T = catalog.once("affinity", lambda: _all_tokens(catalog))
    moments = moments_of(rows)
    past = recent(events, moments, LAST_EVENTS)
    owner, token = tokens.explode(events.item[past.event])
    row, row_token = tokens.explode(rows.item)
    event = past.event[owner]
    met = ByKey(past.moment[owner] * tokens.size + token, moments.of_row[row] * tokens.size + row_token)
    liked = sums(past.moment, len(moments), events.positive[past.event])
    share = ratio(met.totals(events.positive[event]), liked[met.known // max(1, tokens.size)])
    weight = ratio(met.totals(events.weight[event].astype(np.float64)), met.totals())
    # A place for each row and affinity.
    cell, n_cells = row * len(names) + kind_T[row_token], len(rows) * len(names)
    since = np.full(n_cells, LAST_EVENTS, dtype=np.int64)
    np.minimum.at(since, cell, met.read(met.smallest(past.age[owner]), LAST_EVENTS))
    counts = np.maximum(sums(cell, n_cells), 1.0)
    means = [sums(cell, n_cells, met.read(own, 0.0)) / counts for own in (share, weight)]
    answers = np.stack([*means, np.log1p(since)], axis=1).astype(np.float32).reshape(len(rows), len(names), 3)
    return {name: answers[:, kind] for kind, name in enumerate(names)}


def _all_tokens(catalog: Catalog) -> tuple[tuple[str, ...], Tokens, Ints]:
    """Return the affinities' names, the tokens of all of them side by side, and which affinity each token is of."""
    features = {name: Feature.variants[name]() for name in Feature.variants}
    own = {name: feature.tokens(catalog) for name, feature in features.items() if isinstance(feature, Affinity)}
    kind_T = np.repeat(np.arange(len(own)), [tokens.size for tokens in own.values()])
    return tuple(own), Tokens.concat(list(own.values())), kind_T


def _read_one(state: State, item: int) -> tuple[float, float, float]:
    events: list[Event] = list(state["events"])
    own = state["tokens"].of(item).tolist()
    positives = sum(event.positive for event in events)
    shares, weights, since = [], [], LAST_EVENTS
    for token in own:
        met = [(age, e) for age, e in enumerate(reversed(events)) if token in state["tokens"].of(e.item)]
        shares.append(sum(e.positive for _, e in met) / positives if positives else 0.0)
        weights.append(sum(e.weight for _, e in met) / len(met) if met else 0.0)
        since = min([since, *(age for age, _ in met)])
    count = max(len(own), 1)
    return sum(shares) / count, sum(weights) / count, float(np.log1p(since))
