"""Sweeps with Ray Tune: ``run_sweep.py`` is one sweep from start to end, ``trials/trial.py`` one trial in it.

:func:`sweep` is all that a script or a notebook needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveate import _moved

if TYPE_CHECKING:
    from foveate_tune.config import SweepConfig
    from foveate_tune.results.leaderboard import SweepResult

__all__ = ["sweep"]

_moved.keep_public(__name__)


def sweep(
    data: Any,
    config: SweepConfig | Mapping[str, Any] | str | Path | None = None,
    *,
    out: str | Path | None = None,
    address: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> SweepResult:
    """Try encoders on a dataset, and choose the best on validation.

    Parameters
    ----------
    data
        A dataset, or what :func:`foveate.read` makes one of.
    config
        What to try and how much: settings such as ``{"trials": 8}``, or the path of a YAML file of them.
    out
        Sweep folder to make, or its address; None takes a temporary folder that goes when the process ends.
    address
        A running Ray cluster; None starts one here and stops it at the end.
    progress
        Called with a line of news, once an epoch of every trial.

    Returns
    -------
    SweepResult
        The trials, best first; its ``recipe`` is what :func:`foveate.train` takes.

    Raises
    ------
    ConfigError, DataError, OutputExistsError
        The user's mistake, found before anything starts.
    TrainingError
        No trial came to an end.

    Examples
    --------
    >>> import foveate, foveate_tune
    >>> data = foveate.simulate(viewers=200, items=150, days=14)
    >>> settings = {"trials": 1, "epochs": 1, "tracking": {"mode": "none", "tensorboard": False}}
    >>> found = foveate_tune.sweep(data, settings)
    >>> found.frame()["trial"].to_list()
    ['trial-000']
    """
    from foveate.api.reading import dataset_of, temporary_folder  # noqa: PLC0415 - Ray and torch start slowly
    from foveate.api.training import usual_settings  # noqa: PLC0415
    from foveate.core.config import from_dict, load_yaml  # noqa: PLC0415
    from foveate_tune.config import SweepConfig  # noqa: PLC0415
    from foveate_tune.run_sweep import run_sweep  # noqa: PLC0415

    dataset = dataset_of(data)
    if isinstance(config, (str, Path)):
        config = load_yaml(Path(config))
    if not isinstance(config, SweepConfig):
        given = dict(config or {})
        config = from_dict(SweepConfig, {**given, "recipe": {**usual_settings(dataset), **given.get("recipe", {})}})
    place = temporary_folder() / "sweep" if out is None else out
    return run_sweep(config, dataset.path or Path(), place, address=address, progress=progress)


def __dir__() -> list[str]:
    return list(__all__)
