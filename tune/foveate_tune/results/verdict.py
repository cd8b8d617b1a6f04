"""Comparison of a sweep's winner with its rivals, on the window that no trial saw.

Each is trained anew on all that lies before the test's window, with several seeds, and ranks the whole catalogue for
the window's viewers. What comes of it is written into the sweep's folder as ``verdict.json``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.errors import ConfigError
from foveate.core.metrics import Floats, Interval, bootstrap_mean
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.fitting import FitContext
from foveate.data.importing.stream import read_events
from foveate.data.split import Stage, windows
from foveate.encoder.training.train import train_encoder
from foveate.evaluation.paired import RULE, Paired, paired, source_ndcg
from foveate.evaluation.panel import Panel, panel_of
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.storage.folder import Folder, Place
from foveate_tune.config import SweepConfig
from foveate_tune.levels.encoder import EncoderLevel
from foveate_tune.report.record import VERDICT, read_sweep
from foveate_tune.results.pick import read_pick

DEFAULT: Final = "default"
METRIC: Final = "ndcg@10"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    """One encoder and how it is trained.

    Parameters
    ----------
    name
        What it is called.
    source
        What is trained, for how many epochs.
    chosen
        How that came about, in words.
    searched_epochs
        Epochs that were trained in all to find it; None where that is not known.
    """

    name: str
    source: Attention
    chosen: str
    searched_epochs: int | None = None


@dataclass(frozen=True)
class Standing:
    """What a contender came to: its mean over viewers and seeds, and seed by seed; seconds of its trainings."""

    contender: Contender
    mean: Interval
    by_seed: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class VerdictReport:
    """The winner against each rival.

    Parameters
    ----------
    sweep, trial
        Whose winner it is.
    facts
        Data, protocol, viewers, targets.
    seeds
        That each was trained with.
    standings
        The winner first.
    comparisons
        The winner against each of the others, in their order.
    """

    sweep: str
    trial: str
    facts: Mapping[str, Any]
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]
    comparisons: tuple[Paired, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what ``verdict.json`` holds; a figure that cannot be known is null."""
        return {
            "sweep": self.sweep,
            "trial": self.trial,
            **self.facts,
            "window": "test",
            "metric": METRIC,
            "seeds": list(self.seeds),
            "rule": RULE,
            "contenders": [_standing_json(standing) for standing in self.standings],
            "comparisons": [
                {
                    "against": rival.contender.name,
                    "verdict": result.verdict,
                    "only_epochs_differ": only_epochs_differ(self.standings[0].contender, rival.contender),
                    "difference": _numbers(result.difference.absolute),
                    "percent": _numbers(result.difference.percent),
                    "detectable": _number(result.difference.detectable),
                    "detectable_percent": _number(result.difference.detectable_percent),
                    "p": result.p,
                    "by_seed": list(result.by_seed),
                }
                for rival, result in zip(self.standings[1:], self.comparisons, strict=True)
            ],
        }


def compare_sweep(
    sweep: Place, data: Path, against: Sequence[str], *, seeds: int = 3, pick: str | None = None, say: Say | None = None
) -> VerdictReport:
    """Train a sweep's winner and its rivals with several seeds each, and compare them on the test's window.

    Parameters
    ----------
    sweep
        Folder or address of a finished sweep.
    against
        ``default`` (the encoder that a recipe has by itself, for the epochs that are best on validation within the
        sweep's own budget of a trial), other finished sweeps of the same data, or recipe files.
    seeds
        How many trainings of each; the seeds count from the recipe's.
    pick
        Which trial, as ``foveate train --pick`` takes it; None takes the winner.
    say
        Called with one line of news a step.

    Raises
    ------
    ConfigError
        A sweep is not finished, was made on other data or cut otherwise, or a rival is none.
    DataError
        The data cannot be cut.
    TrainingError
        An encoder cannot be trained.
    """
    say = say or (lambda _: None)
    if seeds < 1 or not against:
        raise ConfigError("a comparison needs a rival and at least one seed: name --against default, and --seeds 3")
    dataset = open_dataset(data)
    config = read_sweep(Folder.at(sweep)).config
    winner = read_pick(sweep, pick)
    contenders = [_of_sweep(sweep, dataset, config.recipe, pick)]
    contenders += [_rival(word, dataset, config, say) for word in against]
    stage, context = _test(dataset, config.recipe)
    panel = panel_of(stage, context.catalog)
    chosen = tuple(range(config.recipe.seed, config.recipe.seed + seeds))
    values, standings = [], []
    for contender in contenders:
        began = time.monotonic()
        values.append(np.stack(list(_by_seed(contender, context, panel, chosen, cpus=config.cpus, say=say))))
        standings.append(_standing(contender, values[-1], time.monotonic() - began))
    manifest = dataset.manifest
    facts = {
        "data": {"title": dataset.title, "hash": manifest.content_hash, "simulated": manifest.simulated},
        "protocol": config.recipe.protocol,
        "viewers": len(panel.queries),
        "targets": len(panel.targets),
    }
    comparisons = tuple(paired(values[0], own, config.recipe.seed) for own in values[1:])
    report = VerdictReport(winner.sweep_id, winner.trial, facts, chosen, tuple(standings), comparisons)
    Folder.at(sweep).write(VERDICT, json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
    return report


def only_epochs_differ(one: Contender, other: Contender) -> bool:
    """Whether two contenders are the same encoder, trained alike but for the number of epochs."""
    train = dataclasses.replace(other.source.train, epochs=one.source.train.epochs, threads=one.source.train.threads)
    return dataclasses.replace(other.source, train=train) == one.source


def _of_sweep(sweep: Place, dataset: Dataset, base: Recipe, pick: str | None = None) -> Contender:
    picked = read_pick(sweep, pick)
    if picked.data_hash != dataset.manifest.content_hash:
        raise ConfigError(f"sweep '{sweep}' was made on other data than '{dataset.path}': name its dataset with --data")
    record = read_sweep(Folder.at(sweep))
    cut = record.config.recipe
    if (cut.protocol, cut.split, cut.signals) != (base.protocol, base.split, base.signals):
        raise ConfigError(f"sweep '{sweep}' cuts the data otherwise: protocol, split and signals must be the same")
    epochs = sum(len(trial.epochs) for trial in record.trials)
    name = f"{Folder.at(sweep).name} {picked.trial}"
    source = _attention(picked.recipe, f"sweep '{sweep}'")
    return Contender(name, source, f"{picked.trial} of {len(record.trials)} trials", epochs)


def _rival(word: str, dataset: Dataset, config: SweepConfig, say: Say) -> Contender:
    if word == DEFAULT:
        return _default(dataset, config, say)
    path = Path(word)
    if path.is_file():
        source = _attention(from_dict(Recipe, load_yaml(path)), f"recipe '{word}'")
        return Contender(path.stem, source, "as the recipe says")
    return _of_sweep(word, dataset, config.recipe)


def _default(dataset: Dataset, config: SweepConfig, say: Say) -> Contender:
    """Return the shipped encoder, for the epochs that are best on validation within a trial's budget."""
    problem = EncoderLevel().prepare(dataset, config, say)
    source = _attention(Recipe(), "the default recipe")
    train = dataclasses.replace(source.train, epochs=config.epochs, threads=config.cpus)
    say("default: choosing its epochs on validation")
    trained: list[int] = []

    def count(_: object) -> bool:
        trained.append(1)
        return True

    best = train_encoder(source.encoder, train, problem.context, on_epoch=count).best_epoch
    tuned = dataclasses.replace(source, train=dataclasses.replace(source.train, epochs=max(1, best)))
    return Contender(DEFAULT, tuned, f"the shipped encoder, best on validation after {best} epochs", len(trained))


def _attention(recipe: Recipe, whose: str) -> Attention:
    found = next((source for source in recipe.sources if isinstance(source, Attention)), None)
    if found is None:
        raise ConfigError(f"{whose} has no attention source to compare")
    return found


def _test(dataset: Dataset, recipe: Recipe) -> tuple[Stage, FitContext]:
    catalog = dataset.catalog()
    positive = recipe.signals.positive or dataset.manifest.positive_kinds
    events = read_events(dataset, catalog.items, recipe.signals, positive)
    stage = windows(events, recipe.protocol, recipe.split).test
    return stage, FitContext(stage.history.histories(catalog.duration), catalog, stage.now, recipe.seed)


def _by_seed(
    contender: Contender, context: FitContext, panel: Panel, seeds: Sequence[int], *, cpus: int, say: Say
) -> Iterator[Floats]:
    train = dataclasses.replace(contender.source.train, threads=cpus)
    for seed in seeds:
        fitted = dataclasses.replace(contender.source, train=train).fit(dataclasses.replace(context, seed=seed))
        ndcg_B = source_ndcg(fitted, panel)
        say(f"{contender.name}, seed {seed}: {METRIC} {ndcg_B.mean():.4f} over {len(ndcg_B):,} viewers")
        yield ndcg_B


def _standing(contender: Contender, values_SB: Floats, seconds: float) -> Standing:
    return Standing(
        contender, bootstrap_mean(values_SB.mean(axis=0), 0), tuple(values_SB.mean(axis=1).tolist()), seconds
    )


def _standing_json(standing: Standing) -> dict[str, Any]:
    contender = standing.contender
    return {
        "name": contender.name,
        "chosen": contender.chosen,
        "epochs": contender.source.train.epochs,
        "searched_epochs": contender.searched_epochs,
        "seconds": round(standing.seconds, 3),
        "mean": _numbers(standing.mean),
        "by_seed": list(standing.by_seed),
        "source": to_dict(contender.source),
    }


def _numbers(interval: Interval) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(interval).items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
