"""What the benchmarks of encoders share: real data where it lies, cut so that each viewer's next item is held out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveate.core.metrics import mid_ranks, ndcg_at, recall_at
from foveate.data.dataset import Dataset, open_dataset
from foveate.data.fitting import FitContext
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.sequence import SequenceReader
from foveate.data.split import windows
from foveate.encoder.training.validation import Validation
from foveate.recommend.recipe import Recipe

REPOSITORY = Path(__file__).resolve().parents[3]
BEAUTY = Path("amazon") / "beauty.parquet"

_BATCH = 512
"""Viewers ranked together: their scores of all items are held at once."""


def real_data() -> Path:
    """Return the folder of real data sets, which need not exist."""
    return Path(os.environ.get("FOVEATE_DATA", REPOSITORY.parent / "shared" / "data"))


def open_or_import(path: Path, scratch: Path) -> Dataset:
    """Open a dataset folder, or import a Parquet file of (user, item) rows into ``scratch``."""
    return open_dataset(path) if path.is_dir() else import_dataset(SequenceReader(), path, scratch / "dataset")


def leave_one_out(dataset: Dataset, seed: int) -> FitContext:
    """Return what lies before each viewer's last item but one, and that item as validation: no test is read."""
    recipe = Recipe(protocol="leave-one-out")
    catalog, positive = dataset.catalog(), dataset.manifest.positive_kinds
    events = dataset.log().encode(dataset.users(), catalog.items, recipe.signals, positive)
    stage = windows(events, recipe.protocol, recipe.split).selection
    return FitContext(
        stage.history.histories(catalog.duration), catalog, stage.now, seed, validation=stage.targets.first()
    )


def asked(context: FitContext, most: int) -> Validation:
    """Return the viewers who are asked to foretell their held-out item, ``most`` of them at most."""
    assert context.validation is not None
    return Validation(context.histories, context.validation, most, context.seed, context.now)


def full_ranking(
    user_UD: NDArray[np.float32], item_ID: NDArray[np.float32], context: FitContext, most: int
) -> dict[str, float]:
    """Return NDCG@10 and Recall@10 of dot products over the whole catalogue, the seen left out, of :func:`asked`."""
    histories, targets_U = context.histories, context.validation
    assert targets_U is not None
    users = asked(context, most).users
    ranks = []
    for start in range(0, len(users), _BATCH):
        some = users[start : start + _BATCH]
        seen = [histories.items[histories.rows(user)] for user in some.tolist()]
        ranks.append(mid_ranks(user_UD[some] @ item_ID.T, targets_U[some], seen))
    ranks_B = np.concatenate(ranks)
    return {"ndcg@10": float(ndcg_at(ranks_B, 10).mean()), "recall@10": float(recall_at(ranks_B, 10).mean())}
