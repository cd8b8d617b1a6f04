"""Baselines, the model and its slate side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from foveate.api.reading import Data, dataset_of
from foveate.api.training import RecipeLike, recipe_of
from foveate.bundle import Bundle, verify
from foveate.core.config import check_seed
from foveate.core.errors import ConfigError
from foveate.core.progress import Progress
from foveate.core.tables import Tabular
from foveate.data.split import Protocol
from foveate.data.worker_group import WorkerGroup
from foveate.evaluation import Asking, Evaluation, evaluate_folder
from foveate.evaluation.asking import TargetChoice
from foveate.evaluation.debiased import DEBIASED_NDCG
from foveate.ranking.growing import Grower
from foveate.storage.transfer import local_copy


@dataclass(frozen=True, repr=False)
class Evaluations(Tabular):
    """One evaluation for each protocol; ``reports`` holds everything that was measured."""

    reports: tuple[Evaluation, ...]

    @property
    def heading(self) -> str:
        """What was evaluated on, and how the log was cut."""
        return "\n".join(
            f"{one.protocol}: {one.data}, {one.viewers:,} viewers, {one.targets:,} targets" for one in self.reports
        )

    def frame(self) -> pl.DataFrame:
        """Return one row a model: its figures, debiased NDCG@10, and the 95 % interval of NDCG@10."""
        rows = []
        for report in self.reports:
            for row in report.rows:
                first = row.metrics["ndcg@10"]
                means = {name: interval.mean for name, interval in row.metrics.items()}
                means |= {DEBIASED_NDCG: row.beside[DEBIASED_NDCG].mean}
                bounds = {"ndcg@10 low": first.low, "ndcg@10 high": first.high}
                rows.append({"protocol": report.protocol, "model": row.model, **means, **bounds})
        return pl.DataFrame(rows)


def evaluate(
    data: Data,
    recipe: RecipeLike = None,
    *,
    bundle: Bundle | str | Path | None = None,
    protocol: Protocol | None = None,
    seeds: int = 1,
    targets: TargetChoice = "all",
    windows: int = 1,
    ageing: bool = False,
    progress: Progress | None = None,
    grower: Grower | None = None,
    worker_group: WorkerGroup | None = None,
) -> Evaluations:
    """Put baselines, blends, two-stage and slate side by side on a window that no training saw.

    Parameters
    ----------
    data
        A dataset, or what :func:`foveate.read` makes one of.
    recipe
        How to train, as for :func:`foveate.train`; not with a bundle.
    bundle
        Evaluate this bundle, its path or its address on the newest window, instead of training.
    protocol
        ``time`` or ``leave-one-out``; None takes the bundle's own, or every one that the data allows.
    seeds
        Train so many times; the figures are means.
    targets, windows, ageing
        Under the ``time`` protocol: which of a window's items are asked for (``all``, ``last`` or ``successive``), in
        how many windows that follow one another, and whether the newest one is also asked part by part, with a model
        that stays as it was. See :class:`foveate.evaluation.asking.Asking`.
    progress
        Called with one line of news a step.
    grower, worker_group
        What trains over several processes, where the recipe asks for that: see :mod:`foveate_cluster.workers`.

    Raises
    ------
    ConfigError
        The recipe cannot be used, or it comes with a bundle, which is trained already.
    DataError
        The data cannot be cut by the protocol.
    BundleError
        The bundle does not fit the data.

    Examples
    --------
    >>> import foveate
    >>> data = foveate.simulate(viewers=120, items=80, days=14)
    >>> bundle = foveate.train(data, {"sources": ["covisitation", "popularity"]})
    >>> "two-stage" in foveate.evaluate(data, bundle=bundle).frame()["model"].to_list()
    True
    """
    if bundle is not None and (recipe is not None or seeds != 1):
        raise ConfigError("a bundle is trained already: recipe and seeds are for training, leave them out")
    if seeds < 1:
        raise ConfigError(f"seeds: 1 or more is expected, got {seeds}")
    dataset = dataset_of(data)
    how = recipe_of(recipe, dataset)
    check_seed(how.seed + seeds - 1)
    path = bundle.path if isinstance(bundle, Bundle) else None if bundle is None else local_copy(bundle, verify)
    chosen = tuple(range(how.seed, how.seed + seeds))
    reports = evaluate_folder(
        dataset.path or Path(),
        how,
        [protocol] if protocol else [],
        chosen,
        asking=Asking(targets, windows, ageing),
        bundle=path,
        progress=progress,
        grower=grower,
        worker_group=worker_group,
    )
    return Evaluations(tuple(reports))
