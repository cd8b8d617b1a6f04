"""An audit from start to end: rank each viewer's candidates once, make slates along the strength, measure.

Shapes: ``B`` viewers, ``K`` places, ``I`` items, ``C`` categories.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foveate.audit import measures
from foveate.audit.measures import Histories
from foveate.audit.report import Audit, Group, Point
from foveate.bundle import Bundle
from foveate.core import metrics
from foveate.core.errors import ConfigError
from foveate.core.messages import Ranked
from foveate.core.metrics import Floats
from foveate.data.dataset import Dataset
from foveate.evaluation.loaded import newest_stage, notes_on
from foveate.evaluation.panel import Panel, panel_of, request_seed
from foveate.recommend.model import Model
from foveate.slate.base import DiversityPolicy, SlatePolicy
from foveate.slate.constraints import UNCONSTRAINED, Constraints

SLATE_SIZE = 10
STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)

_BATCH = 256
_SEED = 0

Progress = Callable[[str], None]


def audit(
    bundle: Bundle,
    dataset: Dataset,
    *,
    policy: str | None = None,
    strengths: Sequence[float] = STRENGTHS,
    rules: bool = True,
    most: int = 2000,
    progress: Progress | None = None,
) -> Audit:
    """Audit a bundle on the newest window of a dataset.

    Parameters
    ----------
    policy
        The diversity policy whose strength is varied; the bundle's own unless told.
    strengths
        From 0 to 1; 0 and the bundle's own are always among them.
    rules
        Whether slates keep the bundle's rules.
    most
        How many viewers are asked at most, drawn by a fixed seed; 0 asks all.
    progress
        Called with one line of news a step.

    Raises
    ------
    ConfigError
        The policy has no strength, or a strength lies outside 0 to 1.
    BundleError
        The bundle does not fit the data.
    DataError
        The data cannot be cut.
    """
    say = progress or _silent
    model = bundle.model
    chosen = _policy(model, policy)
    own = chosen.strength if policy is None or type(model.recipe.policy) is type(chosen) else None
    stage = newest_stage(bundle, dataset, model.recipe.protocol)
    panel = panel_of(stage, model.catalog, most=most, seed=_SEED)
    positive = stage.history.take(stage.history.positive & (stage.history.item < len(model.catalog)))
    popularity_I = metrics.popularity(positive.user, positive.item, positive.n_users, len(model.catalog))
    constraints = model.recipe.constraints if rules else UNCONSTRAINED
    asked = _Asked(model, panel, _ranked(model, panel, say), popularity_I, constraints)
    along = sorted({0.0, *strengths, *([own] if own is not None else [])})
    points: list[Point] = []
    plain_B: Floats | None = None
    for strength in along:
        say(f"slates at strength {strength:g}")
        slates = asked.slates(replace(chosen, strength=strength))
        plain_B = slates.ndcg_B if plain_B is None else plain_B
        points.append(asked.point(strength, slates, plain_B))
    return Audit(
        bundle=bundle.bundle_id,
        data=dataset.title,
        simulated=dataset.manifest.simulated or bundle.manifest.simulated,
        policy=type(chosen).name,
        strength=own,
        rules=constraints.labels,
        viewers=len(panel.queries),
        slate_size=SLATE_SIZE,
        points=tuple(points),
        decile_items=asked.deciles(np.arange(len(model.catalog))),
        decile_liked=asked.deciles(positive.item),
        notes=notes_on(bundle, dataset, stage),
    )


@dataclass(frozen=True)
class _Slates:
    """``lists_BK`` filled with -1, ``[B]`` NDCG, and means over the slates."""

    lists_BK: NDArray[np.int32]
    ndcg_B: Floats
    paid: float
    relaxed: float
    short: float


@dataclass(frozen=True)
class _Asked:
    """A panel with its ranked candidates, and all that slates of them are measured by."""

    model: Model
    panel: Panel
    ranked: Sequence[Ranked]
    popularity_I: Floats
    constraints: Constraints

    def slates(self, policy: SlatePolicy) -> _Slates:
        """Make every viewer's slate."""
        lists_BK = np.full((len(self.ranked), SLATE_SIZE), -1, dtype=np.int32)
        paid, relaxed = 0.0, 0
        for row, ranked in enumerate(self.ranked):
            seed = request_seed(ranked.query, _SEED)
            answer = policy.select(self.model.slate_input(ranked), SLATE_SIZE, self.constraints, seed)
            lists_BK[row, : len(answer.chosen)] = ranked.candidates.items[answer.chosen]
            paid += answer.relevance_paid
            relaxed += bool(answer.relaxed)
        asked = max(1, len(lists_BK))
        short = float((lists_BK < 0).any(axis=1).mean()) if len(lists_BK) else 0.0
        return _Slates(lists_BK, self._ndcg(lists_BK), paid / asked, relaxed / asked, short)

    def point(self, strength: float, slates: _Slates, plain_B: Floats) -> Point:
        """Measure slates; ``plain_B`` is the NDCG of those at strength 0."""
        lists_BK = slates.lists_BK
        shown_B = measures.list_mean(lists_BK, self.popularity_I)
        mix_BC = measures.mix_of_lists(lists_BK, self.model.category_shares)
        figures = {
            "ndcg": slates.ndcg_B,
            "shown": shown_B,
            "miscalibration": measures.miscalibration(mix_BC, self._liked_mix_BC),
        }
        n_items = len(self.model.catalog)
        return Point(
            strength=strength,
            everyone=self._group(np.ones(len(lists_BK), dtype=bool), figures),
            groups={
                kind: {name: self._group(own_B == at, figures) for at, name in enumerate(names)}
                for kind, (names, own_B) in self._groups.items()
            },
            ndcg_change=metrics.paired_difference(slates.ndcg_B, plain_B, _SEED),
            ild_by_category=_mean(metrics.ild_by_category(lists_BK, self.model.catalog.categories)),
            ild_by_vector=_mean(self._dissimilarity(lists_BK)),
            coverage=metrics.coverage(lists_BK, n_items),
            gini=metrics.exposure_gini(lists_BK, n_items),
            deciles=self.deciles(lists_BK[lists_BK >= 0]),
            relevance_paid=slates.paid,
            relaxed=slates.relaxed,
            short=slates.short,
        )

    def deciles(self, items: NDArray[np.integer]) -> tuple[float, ...]:
        """Return the share of ``items`` by decile of channel size; nothing where no channels are known."""
        if not len(self.model.catalog.channels):
            return ()
        return tuple(measures.exposure(items, self._decile_I, measures.DECILES).tolist())

    def _group(self, own_B: NDArray[np.bool_], figures: Mapping[str, Floats]) -> Group:
        liked_B, shown_B = self._liked_popularity_B[own_B], figures["shown"][own_B]
        return Group(
            viewers=int(own_B.sum()),
            ndcg=_mean(figures["ndcg"][own_B]),
            liked_popularity=_mean(liked_B),
            shown_popularity=_mean(shown_B),
            lift=measures.lift(shown_B, liked_B),
            miscalibration=_mean(figures["miscalibration"][own_B]),
        )

    def _ndcg(self, lists_BK: NDArray[np.int32]) -> Floats:
        found_TK = self.panel.targets[:, None] == lists_BK[self.panel.viewer_of_target()]
        ranks_T = np.where(found_TK.any(axis=1), found_TK.argmax(axis=1), np.inf)
        return metrics.multi_ndcg_at(ranks_T, self.panel.offsets, SLATE_SIZE)

    def _dissimilarity(self, lists_BK: NDArray[np.int32]) -> Floats:
        out_B = np.full(len(lists_BK), np.nan)
        for row, list_K in enumerate(lists_BK):
            own = list_K[list_K >= 0]
            if len(own) > 1:
                vectors_KD = self.model.vectors(own)
                positions = np.arange(len(own))[None, :]
                out_B[row] = metrics.ild_by_vector(positions, vectors_KD)[0]
        return out_B

    @cached_property
    def _histories(self) -> Histories:
        own = [query.items[query.positives] for query in self.panel.queries]
        offsets = np.concatenate([[0], np.cumsum([len(items) for items in own])]).astype(np.int64)
        return Histories(np.concatenate([np.empty(0, dtype=np.int32), *own]), offsets)

    @cached_property
    def _groups(self) -> Mapping[str, tuple[measures.Names, NDArray[np.int64]]]:
        taste_B = measures.by_taste(self._histories, self.popularity_I)
        return {
            "activity": (measures.ACTIVITY, measures.by_activity(self._histories)),
            "taste": (measures.TASTE, taste_B),
        }

    @cached_property
    def _liked_popularity_B(self) -> Floats:
        return self._histories.mean(self.popularity_I)

    @cached_property
    def _liked_mix_BC(self) -> Floats:
        return measures.mix_of_histories(self._histories, self.model.category_shares)

    @cached_property
    def _decile_I(self) -> NDArray[np.int64]:
        return measures.channel_decile(self.model.catalog)


def _policy(model: Model, name: str | None) -> DiversityPolicy:
    chosen = model.recipe.policy
    if name is not None and type(chosen).name != name:
        chosen = SlatePolicy.variants[name]()
    if not isinstance(chosen, DiversityPolicy):
        known = ", ".join(key for key, cls in SlatePolicy.variants.items() if issubclass(cls, DiversityPolicy))
        raise ConfigError(f"policy '{type(chosen).name}' has no strength to vary: name another, one of {known}")
    return chosen


def _ranked(model: Model, panel: Panel, say: Progress) -> list[Ranked]:
    ranked: list[Ranked] = []
    for batch in panel.batches(_BATCH):
        ranked += model.rank(batch.queries, model.candidates(batch.queries))
        say(f"ranked for {len(ranked):,} of {len(panel.queries):,} viewers")
    return ranked


def _mean(values_B: Floats) -> float:
    finite = values_B[np.isfinite(values_B)]
    return float(finite.mean()) if len(finite) else float("nan")


def _silent(line: str) -> None:
    del line
