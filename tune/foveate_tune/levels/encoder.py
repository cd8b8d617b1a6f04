"""The encoder alone: attention, scorer, loss, width, judged by how well it foretells the selection's window."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, DataError
from foveate.core.metrics import mid_ranks, ndcg_at, recall_at
from foveate.data.dataset import Dataset
from foveate.data.fitting import FitContext
from foveate.data.importing.stream import read_events
from foveate.data.split import windows
from foveate.encoder.model import SequenceEncoder
from foveate.encoder.training.train import EpochReport, train_encoder
from foveate.encoder.training.validation import Validation
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.popularity import count_items
from foveate_tune.levels.base import Baselines, Level, Problem, Report
from foveate_tune.levels.chosen_encoder import attention_of, with_attention
from foveate_tune.objective import Objective
from foveate_tune.search import build_space, draw_of
from foveate_tune.settings import SweepSettings
from foveate_tune.space import VARIANTS, Draw, SearchSpace, apply_draw
from foveate_tune.trials.pilot import seconds_per_epoch

CHECKPOINT = "encoder.safetensors"
"""The file in a trial's checkpoint folder that ``train_encoder(resume=...)`` goes on from."""

_BATCH = 512


@dataclass(frozen=True)
class EncoderLevel(Level):
    """Tunes the ``attention`` source by itself; ``search`` says where to look."""

    name: ClassVar[str] = "encoder"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """NDCG of the next item."""
        return (Objective("ndcg@10"),)

    @property
    def beside(self) -> tuple[Objective, ...]:
        """How often it is among ten."""
        return (Objective("recall@10"),)

    def steps(self, config: SweepSettings) -> int:
        """Return the epochs."""
        return config.epochs

    def space(self, config: SweepSettings) -> SearchSpace:
        """Return mixers, scorers, their own settings, and the settings that ``search`` adds."""
        return build_space(config.search)

    def prepare(self, dataset: Dataset, config: SweepSettings, say: Callable[[str], None]) -> EncoderProblem:
        """Hold out each viewer's next item in the selection's window."""
        del say
        recipe, catalog = config.recipe, dataset.catalog()
        positive = recipe.signals.positive or dataset.manifest.positive_kinds
        events = read_events(dataset, catalog.items, recipe.signals, positive)
        stage = windows(events, recipe.protocol, recipe.split).selection
        histories = stage.history.histories(catalog.duration)
        context = FitContext(histories, catalog, stage.now, config.seed, validation=stage.targets.first())
        problem = EncoderProblem(self, recipe, context, to_dict(attention_of(recipe) or Attention()))
        if not problem.viewers:
            raise DataError("no viewer with a history likes anything new in the selection's window: widen the split")
        return problem


@dataclass(frozen=True)
class EncoderProblem(Problem):
    """The log before the selection's window, and what is held out in that window.

    Parameters
    ----------
    level
        Who prepared it.
    base
        The recipe whose ``attention`` source is tuned.
    context
        Positive histories before the selection's window, and each viewer's next item in it as ``validation``.
    source
        Settings of the ``attention`` source that draws are put into, as plain values.
    """

    level: EncoderLevel
    base: Recipe
    context: FitContext
    source: Mapping[str, Any]

    @property
    def viewers(self) -> int:
        """How many viewers every trial is measured on."""
        return len(self._asked())

    def first(self, space: SearchSpace) -> Draw | None:
        """Return the recipe's own ``attention`` source as a draw."""
        return draw_of(self.source, space)

    def check(self, draw: Draw) -> None:
        """See that the encoder can be built."""
        self._source(draw)

    def run(
        self, draw: Draw, report: Report, *, steps: int, cpus: int, seconds: float = inf, resume: Path | None = None
    ) -> None:
        """Train, and report every epoch with a checkpoint."""

        def on_epoch(epoch: EpochReport) -> bool:
            figures = {**epoch.metrics, "loss": epoch.loss, "rows_per_second": epoch.rows_per_second}
            return report(epoch.epoch, figures, lambda folder: epoch.save(folder / CHECKPOINT))

        source = self._source(draw)
        # A stopped trial's settings decide how long it waits for a better epoch; the sweep decides how long it may
        # train.
        train = dataclasses.replace(source.train, epochs=steps, threads=cpus)
        kept = resume / CHECKPOINT if resume else None
        train_encoder(source.encoder, train, self.context, on_epoch=on_epoch, resume=kept, seconds=seconds)

    def pilot(self, draws: Sequence[Draw], seconds: float, cpus: int) -> list[float]:
        """Train each draw for a while."""
        sources = (self._source(draw) for draw in draws)
        return [seconds_per_epoch(source, self.context, cpus=cpus, seconds=seconds) for source in sources]

    def recipe(self, draw: Draw, best: int) -> Recipe:
        """Return the recipe with its ``attention`` source replaced, or put first where it has none.

        It trains for as many epochs as were best: the last training holds nothing out and so cannot stop by itself.
        """
        source = self._source(draw)
        tuned = dataclasses.replace(source, train=dataclasses.replace(source.train, epochs=max(1, best)))
        return with_attention(self.base, tuned)

    def baselines(self) -> Baselines:
        """Return popularity's figures."""
        histories, users = self.context.histories, self._asked()
        counts_I = count_items(histories)
        ranks = []
        for start in range(0, len(users), _BATCH):
            some = users[start : start + _BATCH]
            seen = [histories.items[histories.rows(user)] for user in some.tolist()]
            ranks.append(mid_ranks(np.tile(counts_I, (len(some), 1)), self._targets[some], seen))
        ranks_B = np.concatenate(ranks)
        figures = {"ndcg@10": float(ndcg_at(ranks_B, 10).mean()), "recall@10": float(recall_at(ranks_B, 10).mean())}
        return {"popularity": figures}

    @property
    def _targets(self) -> NDArray[np.int32]:
        """``[U]``: each viewer's item to foretell, ``-1`` for none."""
        assert self.context.validation is not None  # noqa: S101 - prepare() gives it
        return self.context.validation

    def _asked(self) -> NDArray[np.int64]:
        most = int(self.source["train"]["validation_viewers"])
        return Validation(self.context.histories, self._targets, most, self.context.seed).users

    def _source(self, draw: Draw) -> Attention:
        settings = apply_draw(draw, self.source, VARIANTS)
        own = {key: value for key, value in settings.items() if key != "name"}
        source = from_dict(Attention, own, "search.settings")
        try:
            SequenceEncoder(source.encoder, n_items=1)
        except ValueError as error:
            raise ConfigError(f"search: {error}") from error
        return source
