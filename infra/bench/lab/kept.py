"""What a ranker learns from, kept in a folder together with what it is asked about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import FeatureMatrix
from foveate.ranking.base import TrainingSet

Groups = Mapping[str, tuple[str, ...]]
"""Names of the columns that tell of one thing."""

_ROWS, _GROUPS = "rows.npz", "groups.json"


def keep(folder: Path, training: TrainingSet, groups: Groups, **arrays: NDArray[Any]) -> None:
    """Write a training set down, without its signals, and whatever else there is."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {
        "training_names": np.array(training.features.names),
        "training_schema": np.array(training.features.schema_hash),
        "training_values": training.features.values,
        "training_labels": training.labels,
        "training_groups": training.groups,
        "training_windows": training.windows,
        **arrays,
    }
    np.savez(folder / _ROWS, **rows)
    # Written last: a folder that holds it is whole.
    (folder / _GROUPS).write_text(json.dumps(dict(groups)))


def is_kept(folder: Path) -> bool:
    """Whether a folder is whole."""
    return (folder / _GROUPS).exists()


def read(folder: Path) -> tuple[TrainingSet, Groups, dict[str, NDArray[Any]]]:
    """Return what :func:`keep` wrote."""
    groups = {name: tuple(columns) for name, columns in json.loads((folder / _GROUPS).read_text()).items()}
    with np.load(folder / _ROWS) as kept:
        arrays = {name: kept[name] for name in kept.files}
    names, schema = tuple(arrays["training_names"].tolist()), str(arrays["training_schema"])
    training = TrainingSet(
        features=FeatureMatrix(names, schema, arrays["training_values"]),
        labels=arrays["training_labels"],
        groups=arrays["training_groups"],
        windows=arrays["training_windows"],
    )
    return training, groups, {name: array for name, array in arrays.items() if not name.startswith("training_")}
