"""The seam of levels: what a sweep tunes.

A level cuts a dataset into a :class:`Problem` that all trials of a sweep share; a searcher draws from the level's
space; a trial runs one draw on the problem; and the draw that is picked becomes a recipe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

from foveate.core.registry import Registry, Variant
from foveate.data.dataset import Dataset
from foveate.recommend.recipe import Recipe
from foveate_tune.objective import Objective
from foveate_tune.settings import SweepSettings
from foveate_tune.space import Draw, SearchSpace

Baselines: TypeAlias = Mapping[str, Mapping[str, float]]
"""Figures by the name of what they belong to, such as ``{"popularity": {"ndcg@10": 0.05}}``."""


class Report(Protocol):
    """Takes what a trial has to tell; does not return where the trial is stopped."""

    def __call__(
        self, step: int, figures: Mapping[str, float], save: Callable[[Path], object] | None = None, /
    ) -> bool:
        """Tell of a step, counted from 1; ``save`` writes a checkpoint into the folder that it is given."""
        ...


class Problem(ABC):
    """What all trials of a sweep share. It is pickled, once a node, and holds nothing of the test's window."""

    level: Level

    @property
    @abstractmethod
    def viewers(self) -> int:
        """How many viewers every trial is measured on."""

    @abstractmethod
    def first(self, space: SearchSpace) -> Draw | None:
        """Return the draw that gives the settings which the sweep starts from; None if the space lacks them."""

    @abstractmethod
    def check(self, draw: Draw) -> None:
        """See that a draw can be built.

        Raises
        ------
        ConfigError
            It names a setting that there is not, or settings that do not go together.
        """

    @abstractmethod
    def run(
        self, draw: Draw, report: Report, *, steps: int, cpus: int, seconds: float = inf, resume: Path | None = None
    ) -> None:
        """Try a draw, in a process of the trial's own.

        Parameters
        ----------
        report
            To be called after every step with all of the level's figures.
        steps
            Most steps.
        cpus
            Threads to use.
        seconds
            How long it may go on. A step that they end in is cut short, reported and the last; a level whose steps
            cannot be cut leaves it aside.
        resume
            Folder of a checkpoint that ``report`` has kept, to go on from.

        Raises
        ------
        TrainingError
            It cannot go on.
        """

    def pilot(self, draws: Sequence[Draw], seconds: float, cpus: int) -> list[float]:
        """Return about how many seconds a step of each draw takes, each tried for ``seconds``; empty if unknown."""
        del draws, seconds, cpus
        return []

    @abstractmethod
    def recipe(self, draw: Draw, best: int) -> Recipe:
        """Return the recipe that trains a draw; ``best`` is the step whose figures count, 0 where there is none."""

    @abstractmethod
    def baselines(self) -> Baselines:
        """Return what simple rivals score on the very viewers and targets that trials are measured on."""


class Level(Variant):
    """Base of the levels' frozen configs; each file of this package that defines one adds a level."""

    variants: ClassVar[Registry[Level]]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is tuned for. Schedulers and the leaderboard's order go by the first one."""
        raise NotImplementedError

    @property
    def beside(self) -> tuple[Objective, ...]:
        """What is reported as well, and not tuned for."""
        return ()

    @property
    def figures(self) -> tuple[Objective, ...]:
        """All that trials are compared by, the first objective first."""
        return (*self.objectives, *self.beside)

    @property
    def worst(self) -> dict[str, float]:
        """What a trial reports that cannot go on."""
        return {figure.name: figure.worst for figure in self.figures}

    def steps(self, config: SweepSettings) -> int:
        """Return how often a trial reports at most."""
        raise NotImplementedError

    def space(self, config: SweepSettings) -> SearchSpace:
        """Return what is drawn.

        Raises
        ------
        ConfigError
            A variant is not known, or a domain cannot be read or is empty.
        """
        raise NotImplementedError

    def prepare(self, dataset: Dataset, config: SweepSettings, say: Callable[[str], None]) -> Problem:
        """Cut a dataset for a sweep; ``say`` is called with a line of news a step of long work.

        Raises
        ------
        ConfigError, DataError
            The config cannot be met, or the log is too short to be cut.
        """
        raise NotImplementedError


Level.variants = Registry("level", Level, "foveate_tune.levels")
