"""All that a training needs to know: what a recipe file under ``infra/recipes`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias, get_args

from foveate.core.config import check_seed, from_dict
from foveate.core.errors import ConfigError
from foveate.data.signals import Signals
from foveate.data.split import Protocol, SplitConfig
from foveate.data.worker_group import WorkerGroupConfig
from foveate.features.core import Feature
from foveate.features.sets import Clock
from foveate.ranking.base import LabelDraw, RankerConfig
from foveate.ranking.labels import Labels
from foveate.retrieval.base import SourceConfig
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import Constraints
from foveate.slate.orders.base import ListOrder

Likeness: TypeAlias = Literal["facts", "learned", "both"]

RankerRows: TypeAlias = Literal["retrieved", "served"]

DEFAULT_SOURCES = ("attention", "covisitation", "item_knn", "popularity", "recent_popularity")

BY_TIME = {
    "encoder": {"scorer": "dot_product", "inputs": ["categories"], "trend": [1, 3, 7, 14, 30]},
    "train": {"average": 0.998, "weight_decay": 0.3},
}
"""The encoder where a model may read times: what is popular moves, and what the viewer likes is learned beside it.

Chosen on the selection window of MovieTweetings cut at 70 % of its events.
"""


def default_sources(protocol: Protocol) -> tuple[SourceConfig, ...]:
    """Return the sources of a recipe that names none."""
    attention = {"name": "attention", **(BY_TIME if protocol == "time" else {})}
    others = ({"name": name} for name in DEFAULT_SOURCES if name != "attention")
    return tuple(from_dict(SourceConfig, own) for own in (attention, *others))


def _default_ranker() -> RankerConfig:
    return RankerConfig.variants["lambdarank"]()


def _default_order() -> ListOrder:
    return ListOrder.variants["score"]()


def _default_policy() -> SlatePolicy:
    return SlatePolicy.variants["mmr"]()


@dataclass(frozen=True)
class Recipe:
    """How to train a model and how it makes its slates.

    Parameters
    ----------
    protocol
        How the log is cut; ``time`` gives the model a clock, ``leave-one-out`` one that is order only.
    signals
        What events are worth and which count as interest.
    split
        How wide the windows are.
    sources
        The candidate sources, each variant at most once; by default :func:`default_sources` of the protocol.
    candidates
        How many items each source offers.
    offers
        How many a source offers instead, by its name; 0 lets it only score what others offer.
    features
        Names of the ranker's features; empty takes all that the clock allows.
    label_windows
        How many windows before the selection's label the ranker; see :func:`foveate.data.split.label_stages`. None
        takes six by time, and two where each takes an item of every viewer. In one window all candidates have the same
        counts, so that from few windows trees learn which items were liked there, and not what such counts foretell.
    label_draw
        How much of them the ranker learns from.
    labels
        What each kind of event adds to the label of a candidate; without weights a label is 1 for what counts as
        interest.
    ranker_rows
        What the ranker learns from: ``retrieved``, what the window's own sources retrieve, with features computed as of
        the cut; or ``served``, what was shown, with the features that were used then and what followed. That needs a
        dataset that :func:`foveate.append` has grown by a served log.
    refit_learned
        Whether sources that take long to learn (the encoder) are fitted anew for every label window. If not, the one
        fitted before the oldest window serves them all, and takes a single fit.
    train
        By how many processes of a Ray cluster an encoder is trained, and what each takes; how it learns is the
        source's own ``train``.
    ranker
        The re-ranker.
    order
        By what a viewer's candidates are listed before the slate is chosen: predicted ``score``, ``click_through``, or
        ``time`` (the newest first).
    policy, constraints
        How a slate is chosen, and the rules that every slate keeps to.
    likeness
        By what a policy takes two items for alike: ``facts`` (channel, categories and tags), ``learned`` (the vectors
        of the first source that learns some: what the same viewers watch lies close), or ``both`` in equal parts.
    slate_size
        How many items a slate holds where a request does not say.
    seed
        Seed of everything random.

    Examples
    --------
    >>> import foveate
    >>> foveate.Recipe(candidates=200, slate_size=5).slate_size
    5
    """

    protocol: Protocol = "time"
    signals: Signals = field(default_factory=Signals)
    split: SplitConfig = field(default_factory=SplitConfig)
    sources: tuple[SourceConfig, ...] = field(default_factory=partial(default_sources, "time"))
    candidates: int = 100
    offers: Mapping[str, int] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    label_windows: int | None = None
    label_draw: LabelDraw = field(default_factory=LabelDraw)
    labels: Labels = field(default_factory=Labels)
    ranker_rows: RankerRows = "retrieved"
    refit_learned: bool = False
    train: WorkerGroupConfig = field(default_factory=WorkerGroupConfig)
    ranker: RankerConfig = field(default_factory=_default_ranker)
    order: ListOrder = field(default_factory=_default_order)
    policy: SlatePolicy = field(default_factory=_default_policy)
    constraints: Constraints = field(default_factory=Constraints)
    likeness: Likeness = "facts"
    slate_size: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.sources in map(default_sources, get_args(Protocol)):
            # Those that nobody has named go with the protocol, whichever it is changed to.
            object.__setattr__(self, "sources", default_sources(self.protocol))
        names = [type(source).name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise ConfigError(f"source '{twice[0]}' stands twice" if twice else "a recipe needs at least one source")
        for source in self.sources:
            source.check(self.train)
        for feature in self.features:
            Feature.variants[feature]
        if min(self.candidates, self.n_label_windows, self.slate_size) < 1:
            raise ConfigError("candidates, label_windows and slate_size must be 1 or more")
        if self.ranker_rows == "served" and self.protocol != "time":
            raise ConfigError("ranker_rows=served needs protocol=time: what was served is cut by when it was shown")
        unknown = [name for name in self.offers if name not in names]
        if unknown:
            raise ConfigError(f"offers: '{unknown[0]}' is not among the sources: {', '.join(names)}")
        if min(self.counts) < 0 or not any(self.counts):
            raise ConfigError("offers must be 0 or more, and one of the sources has to offer something")

    @property
    def n_label_windows(self) -> int:
        """How many windows before the selection's label the ranker."""
        usual = {"time": 6, "leave-one-out": 2}
        return usual[self.protocol] if self.label_windows is None else self.label_windows

    @property
    def counts(self) -> tuple[int, ...]:
        """How many items each source offers, in their order."""
        return tuple(self.offers.get(type(source).name, self.candidates) for source in self.sources)

    @property
    def source_feature_names(self) -> tuple[str, ...]:
        """What the sources say of a candidate beside their scores."""
        return tuple(name for source in self.sources for name in source.source_feature_names)

    @property
    def clock(self) -> Clock:
        """Whether a model of this recipe may read times."""
        return "time" if self.protocol == "time" else "order"
