"""Messages of one request, from the ingress to the slate: plain frozen dataclasses, no behaviour.

Shapes in this file: ``N`` candidates, ``S`` candidate sources, ``R`` remarks of theirs, ``H`` history events. Item
and user *codes* are int32 positions in a :class:`~foveate.data.vocabulary.Vocabulary`; *ids* are the outside world's
strings. Times are UTC microseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NO_TIME = int(np.iinfo(np.int64).min)
"""The time of an event whose time is not known; sorts before every dated one."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a request forbids, beyond what the viewer has already seen.

    Parameters
    ----------
    exclude_items, exclude_channels
        Ids that must not be shown.
    languages
        Allowed languages; empty allows all, an item of unknown language included.
    max_maturity
        Highest minimum age allowed, in years. An item of unknown maturity is not shown when this is set: the safe side.
    region
        Where the viewer is. An item that does not say that it may be shown there is not shown when this is set.
    shown_before
        Marks (see ``Catalog.marks``) of the items on earlier pages of the same slate.
    """

    exclude_items: tuple[str, ...] = ()
    exclude_channels: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    max_maturity: int | None = None
    region: str | None = None
    shown_before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PastEvent:
    """One thing that an anonymous visitor did in this session; as kind None: interest of any kind."""

    item_id: str
    kind: str | None = None
    value: float = 1.0
    occurred_at: int | None = None
    """UTC microseconds."""


@dataclass(frozen=True, slots=True)
class Likes:
    """What somebody says that they like: ids of items and channels, names of categories and tags."""

    items: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecommendRequest:
    """What a client asks: ``k`` items on one surface, for a viewer or for a session.

    Parameters
    ----------
    user_id
        The viewer; empty for an anonymous visitor.
    history
        What an anonymous visitor has done, oldest first; None where a viewer asks.
    related_to
        The item that a slate is to be related to, on the surfaces that start from one.
    diversity
        Strength from 0 to 1 in place of the recipe's, where its policy has one.
    deadline_ms
        Milliseconds after which an answer is of no use; a server takes it where it is less than its own.
    likes
        What who asks says that they like; it counts before all that is known of them.
    """

    user_id: str
    k: int = 10
    surface: str = "home"
    filters: Filters = field(default_factory=Filters)
    now: int | None = None
    """UTC microseconds; None takes the server's clock. Setting it makes a slate reproducible."""
    seed: int | None = None
    history: tuple[PastEvent, ...] | None = None
    related_to: str | None = None
    diversity: float | None = None
    deadline_ms: int | None = None
    seed_drawn: bool = False
    """Whether ``seed`` is one that a server drew for an earlier page, and not the choice of who asks."""
    likes: Likes | None = None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Pinned at the ingress and handed to every stage; with the bundle it decides the slate completely."""

    request_id: str
    now: int
    """UTC microseconds."""
    bundle_id: str
    deadline: int
    """UTC microseconds after which an answer is of no use."""
    surface: str
    seed: int
    filters: Filters
    trace: str = ""
    """The span of this request for other processes, as a W3C ``traceparent``; empty where nothing traces it."""
    exploration: str = ""
    """What is explored, as ``Exploration.text`` writes it; empty where nothing is."""
    seed_drawn: bool = True
    """Whether a server drew ``seed``: only then has what was drawn by it a probability."""


@dataclass(frozen=True, slots=True)
class ViewerHistory:
    """What a viewer has done, oldest first, as ids: what ``ViewerState.history`` answers.

    ``version`` grows with every appended event: reading the same viewer at the same version gives the same history.
    """

    user_id: str
    item_ids: tuple[str, ...]
    kinds: tuple[str, ...]
    values: NDArray[np.float32]
    times: NDArray[np.int64]
    version: int = 0


@dataclass(frozen=True, slots=True)
class Query:
    """A viewer at a moment, in codes: what candidate sources and features read.

    Parameters
    ----------
    items, times, kinds, values
        ``[H]`` events of known items, oldest first (int32 codes, UTC microseconds or ``NO_TIME``, int8 kinds, float32
        values).
    positives
        ``[H]`` bool: which of them count as interest; the encoder and the sources read only those.
    exclude
        int32 item codes that must not be retrieved: seen, filtered, not yet available.
    now
        UTC microseconds, or ``NO_TIME`` where the clock is order only.
    """

    user_id: str
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    kinds: NDArray[np.int8]
    values: NDArray[np.float32]
    positives: NDArray[np.bool_]
    exclude: NDArray[np.int32]
    now: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """The union of what every source retrieved for one query.

    Parameters
    ----------
    items
        ``[N]`` int32 item codes, ascending, each once.
    sources
        ``S`` names, the columns of ``scores`` and ``offered``.
    scores
        ``[N, S]`` float32: every source's score of every candidate.
    offered
        ``[N, S]`` bool: whether that source had it among its own top.
    source_feature_names
        ``R`` names, the columns of ``source_features``.
    source_features
        ``[N, R]`` float32: what sources say of every candidate beside their scores.
    coverage
        Share of the catalogue that the source was asked about whose items lie in shards; below 1 where some were lost.
    """

    items: NDArray[np.int32]
    sources: tuple[str, ...]
    scores: NDArray[np.float32]
    offered: NDArray[np.bool_]
    source_feature_names: tuple[str, ...]
    source_features: NDArray[np.float32]
    coverage: float = 1.0


@dataclass(frozen=True, slots=True)
class FeatureMatrix:
    """Ranker inputs: ``values`` is float32 ``[N, F]``, its columns are ``names``; ``schema_hash`` names that layout."""

    names: tuple[str, ...]
    schema_hash: str
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Ranked:
    """Scored candidates of a query with the features that led to the scores; rows as in ``candidates``."""

    query: Query
    candidates: Candidates
    features: FeatureMatrix
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SlateItem:
    """One place of a slate and where it came from.

    Parameters
    ----------
    policy
        The slot policy that drew the item, with its settings, such as ``plackett_luce-1f0c9a2b``; None where the place
        was not explored.
    propensity
        The probability that the item had at this place given the places above; None where the place was not explored,
        or the request named its seed.
    """

    item_id: str
    position: int
    score: float
    sources: tuple[str, ...]
    features: NDArray[np.float32]
    policy: str | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class Slate:
    """The answer to one request.

    ``relaxed`` names the soft rules that were given up, in that order; ``relevance_paid`` is how far the mean score
    lies below that of the best scores, given up for diversity and constraints, and None in a record of an older
    Foveate, which did not keep it; ``state_version`` is the version of the history that was read; ``degraded`` names
    the stages that something stood in for, and why, such as ``ranker_slow``, and the share of the catalogue that was
    searched where that was not all, as ``coverage_0.67``.
    """

    request_id: str
    user_id: str
    bundle_id: str
    policy_id: str
    feature_schema: str
    items: tuple[SlateItem, ...]
    relaxed: tuple[str, ...] = ()
    relevance_paid: float | None = None
    state_version: int = 0
    degraded: tuple[str, ...] = ()

    @property
    def explored(self) -> tuple[int, ...]:
        """The positions that were drawn."""
        return tuple(item.position for item in self.items if item.policy is not None)

    def is_cold(self, request: RecommendRequest) -> bool:
        """Whether nothing was known of who made the request: no stored history, no other one, and no likes."""
        return self.state_version == 0 and not request.history and request.likes is None
