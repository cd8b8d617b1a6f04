"""All features of a model together: the layout of a feature row and the way to fill it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Candidates, FeatureMatrix, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.queries import events_of, joined
from foveate.data.signals import Signals
from foveate.features.candidate import candidate_columns, candidate_values
from foveate.features.core import Feature, FeatureRows, State

Clock: TypeAlias = Literal["time", "order"]

SEPARATOR = "/"
"""Between a feature's name and an array's in a bundle."""


@dataclass(frozen=True)
class FeatureSet:
    """A fitted set: which features, over which sources, and what they remember of the items.

    Parameters
    ----------
    sources
        Names of the candidate sources whose columns come first.
    source_features
        Names of what the sources say beside their scores.
    features
        The features whose columns follow, in this order.
    states
        The state of each ``item`` feature by its name.
    catalog
        The items.
    signals
        What each kind of event weighs.
    """

    sources: tuple[str, ...]
    source_features: tuple[str, ...]
    features: tuple[Feature, ...]
    states: Mapping[str, State]
    catalog: Catalog
    signals: Signals

    @classmethod
    def fit(
        cls,
        sources: Sequence[str],
        source_features: Sequence[str],
        features: Sequence[str],
        *,
        clock: Clock,
        events: Events,
        catalog: Catalog,
        signals: Signals,
    ) -> FeatureSet:
        """Fold a window of the log into the item states.

        Parameters
        ----------
        features
            Names; none takes all that the clock allows.
        clock
            ``order`` leaves out the features that need the time.
        """
        chosen = choose(features, clock)
        states = {f.name: f.fold(events, catalog) for f in chosen if f.scope == "item"}
        return cls(tuple(sources), tuple(source_features), chosen, states, catalog, signals)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns of a feature row."""
        return candidate_columns(self.sources, self.source_features) + tuple(
            c for feature in self.features for c in feature.columns
        )

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The columns by what they tell of: ``sources``, their ``source_features``, and the groups of the features."""
        own: dict[str, tuple[str, ...]] = {
            "sources": candidate_columns(self.sources),
            "source_features": self.source_features,
        }
        for feature in self.features:
            own[feature.group] = own.get(feature.group, ()) + feature.columns
        return {name: columns for name, columns in own.items() if columns}

    @cached_property
    def schema_hash(self) -> str:
        """Names the layout: rows of the same hash have the same columns."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def build(self, queries: Sequence[Query], candidates: Sequence[Candidates]) -> list[FeatureMatrix]:
        """Return the feature rows of each query's candidates; those of one query do not depend on the others."""
        rows = _rows(queries, candidates)
        own = events_of(queries, len(self.catalog), self.signals.weights)
        blocks = [np.concatenate([candidate_values(c) for c in candidates])] if len(candidates) else []
        for feature in self.features:
            if feature.scope == "viewer":
                blocks.append(feature.as_of(own, self.catalog, rows))
            else:
                blocks.append(self._read_items(feature, queries, candidates))
        values = np.concatenate(blocks, axis=1) if blocks else np.empty((0, len(self.names)), dtype=np.float32)
        parts = np.split(values, np.cumsum([len(c.items) for c in candidates])[:-1])
        return [FeatureMatrix(self.names, self.schema_hash, part) for part in parts[: len(candidates)]]

    def extended(self, catalog: Catalog) -> FeatureSet:
        """Return the set over a catalogue with ``appended`` items behind its own: nothing has happened to these yet."""
        if not catalog.appended or not self.states:
            return replace(self, catalog=catalog)
        appended = Catalog(catalog.frame[-catalog.appended :])
        nothing = Catalog(catalog.frame[:0])
        by_name = {type(feature).name: feature for feature in self.features}
        states = {name: _longer(state, by_name[name], appended, nothing) for name, state in self.states.items()}
        return replace(self, states=states, catalog=catalog)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the item states, flat: what a bundle stores."""
        return {
            f"{name}{SEPARATOR}{key}": np.ascontiguousarray(array)
            for name, state in self.states.items()
            for key, array in state.items()
        }

    @classmethod
    def restore(
        cls,
        sources: Sequence[str],
        source_features: Sequence[str],
        features: Sequence[str],
        *,
        arrays: Mapping[str, NDArray[np.generic]],
        catalog: Catalog,
        signals: Signals,
    ) -> FeatureSet:
        """Make a set again from the names of its sources, their remarks and its features, and its arrays."""
        chosen = tuple(Feature.variants[name]() for name in features)
        states: dict[str, dict[str, NDArray[np.generic]]] = {f.name: {} for f in chosen if f.scope == "item"}
        for path, array in arrays.items():
            name, _, key = path.partition(SEPARATOR)
            states[name][key] = array
        return cls(tuple(sources), tuple(source_features), chosen, states, catalog, signals)

    def _read_items(
        self, feature: Feature, queries: Sequence[Query], candidates: Sequence[Candidates]
    ) -> NDArray[np.float32]:
        state = self.states[feature.name]
        return np.concatenate([feature.read(state, q, c.items) for q, c in zip(queries, candidates, strict=True)])


def choose(names: Sequence[str], clock: Clock) -> tuple[Feature, ...]:
    """Return the named features, or all of them for no name, without those that need a time which is not there."""
    kinds = [Feature.variants[name] for name in (names or Feature.variants)]
    return tuple(kind() for kind in kinds if clock == "time" or not kind.needs_time)


def _longer(state: State, feature: Feature, appended: Catalog, nothing: Catalog) -> State:
    """Return an item feature's state with rows for more items; what it keeps of all items together stays."""
    fresh, empty = feature.start(appended), feature.start(nothing)
    return {
        key: np.concatenate([array, fresh[key].astype(array.dtype)]) if not len(empty[key]) else array
        for key, array in state.items()
    }


def _rows(queries: Sequence[Query], candidates: Sequence[Candidates]) -> FeatureRows:
    counts = [len(c.items) for c in candidates]
    return FeatureRows(
        user=np.repeat(np.arange(len(queries), dtype=np.int32), counts),
        item=joined([c.items for c in candidates], np.int32),
        position=np.repeat(np.array([len(q.items) for q in queries], dtype=np.int64), counts),
        now=np.repeat(np.array([q.now for q in queries], dtype=np.int64), counts),
    )
