"""Picture: the importance of settings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import plotly.graph_objects as go

from foveate_tune.report.base import Panel, Picture
from foveate_tune.report.drawing import GOOD, QUIET, WINNER, counted, figure, short_names
from foveate_tune.report.record import SweepRecord

MOST = 12
"""Settings that are shown."""
FEWEST_TRIALS = 20
"""Below this the best tenth of the trials, which the measure looks at, is one trial or two."""
_SHUFFLES = 40

Settings = Sequence[Mapping[str, Any]]


class Importance(Picture):
    """Each setting's share of what tells good trials from the others, beside what chance alone would give it."""

    name: ClassVar[str] = "importance"
    title: ClassVar[str] = "Which settings mattered"
    place: ClassVar[int] = 40

    def draw(self, sweep: SweepRecord) -> Panel:
        """Draw Optuna's importances (conditional PED-ANOVA), and those of shuffled figures."""
        trials = [trial for trial in sweep.trials if math.isfinite(sweep.first.gain(trial.metrics))]
        paths = sweep.columns()
        values = [sweep.first.gain(trial.metrics) for trial in trials]
        if len(set(values)) < 3 or not paths:
            few = f"{counted(len(trials), 'trial')} with a figure"
            return Panel(f"{few}: too few, or too alike, to say which setting mattered.")
        settings = [{path: trial.settings[path] for path in paths if path in trial.settings} for trial in trials]
        found, chance = importances(settings, values), by_chance(settings, values)
        names = short_names(paths)
        shares = [
            Share(names[path], found[path], chance[path]) for path in sorted(found, key=found.__getitem__)[-MOST:]
        ]
        enough = len(trials) >= FEWEST_TRIALS
        return Panel(_caption(len(trials), shares), _bars(shares, enough=enough), height=130 + 26 * len(shares))


class Share(NamedTuple):
    """A setting's importance, and what 9 of 10 shuffles stay below."""

    name: str
    found: float
    chance: float


def _bars(shares: Sequence[Share], *, enough: bool) -> go.Figure:
    figure_ = figure(
        xaxis={"title": {"text": "importance (share of all)"}, "rangemode": "tozero", "tickformat": ".0%"},
        yaxis={"automargin": True, "type": "category"},
        margin={"l": 16, "r": 16, "t": 16, "b": 56},
        bargap=0.35,
    )
    labels = [share.name for share in shares]
    figure_.add_bar(
        x=[share.found for share in shares],
        y=labels,
        orientation="h",
        marker={"color": [GOOD if enough and share.found > share.chance else QUIET for share in shares]},
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        showlegend=False,
    )
    figure_.add_scatter(
        x=[share.chance for share in shares],
        y=labels,
        mode="markers",
        name="9 of 10 shuffles stay below",
        showlegend=True,
        marker={"symbol": "line-ns-open", "size": 16, "color": WINNER, "line": {"width": 2.5}},
        hovertemplate="%{y}: 9 of 10 shuffles stay below %{x:.1%}<extra></extra>",
    )
    return figure_


def importances(settings: Settings, values: Sequence[float]) -> dict[str, float]:
    """Return each setting's importance by Optuna on a study rebuilt from trials; they sum to 1.

    Source: Watanabe et al., PED-ANOVA (IJCAI 2023), and its conditional form for settings that not every trial has.
    """
    import optuna  # noqa: PLC0415 - a second of start-up, for this picture alone

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    domains = _domains(settings)
    study.add_trials(
        optuna.trial.create_trial(
            params=dict(one), distributions={path: domains[path] for path in one}, value=float(value)
        )
        for one, value in zip(settings, values, strict=True)
    )
    with warnings.catch_warnings():
        # That trials are few is said beside the picture.
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, params=[p for p in domains if not domains[p].single()])
    return {path: float(share) for path, share in found.items()}


def by_chance(settings: Settings, values: Sequence[float], seed: int = 0) -> dict[str, float]:
    """Return what 9 of 10 shuffles of the figures among the trials stay below: there no setting matters."""
    rng = np.random.default_rng(seed)
    drawn = [importances(settings, rng.permutation(values).tolist()) for _ in range(_SHUFFLES)]
    return {path: float(np.quantile([one[path] for one in drawn], 0.9)) for path in drawn[0]}


def _domains(settings: Settings) -> dict[str, Any]:
    """Return the domain of each setting as far as trials show it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: PLC0415

    domains: dict[str, Any] = {}
    for path in dict.fromkeys(path for one in settings for path in one):
        seen = [one[path] for one in settings if path in one]
        if any(isinstance(value, (bool, str)) or not isinstance(value, (int, float)) for value in seen):
            domains[path] = CategoricalDistribution(tuple(dict.fromkeys(seen)))
            continue
        low, high = min(seen), max(seen)
        wide = low > 0 and high / low >= 8
        kind = IntDistribution if all(isinstance(value, int) for value in seen) else FloatDistribution
        domains[path] = kind(low, high, log=wide)
    return domains


def _caption(trials: int, shares: Sequence[Share]) -> str:
    lead = (
        "How far each setting tells the best tenth of the trials from the rest (Optuna's PED-ANOVA); the tick is what"
        " the same measure gives when figures are shuffled among trials."
    )
    if trials < FEWEST_TRIALS:
        few = f"{counted(trials, 'trial')} are too few for this to mean anything"
        return f"{lead} {few}: below {FEWEST_TRIALS} it is mostly chance."
    apart = [share.name for share in reversed(shares) if share.found > share.chance]
    if not apart:
        return f"{lead} Nothing stands above chance."
    above = f"{lead} Above chance, in blue: {', '.join(apart)}."
    return f"{above} Trials that were stopped early count with what they had reached."
