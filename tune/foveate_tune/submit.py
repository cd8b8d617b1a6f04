"""Handing a sweep to a cluster as a job.

Foveate's code travels along; data and results are named by paths or addresses that mean the same on every node.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from foveate.core.config import to_dict
from foveate_cluster.jobs import Jobs
from foveate_cluster.wheel import packed
from foveate_tune.config import SweepConfig


def submit(jobs: Jobs, words: Sequence[str], *, wheel: Path | None = None, width: int | None = None) -> str:
    """Hand ``foveate WORDS`` to a cluster, with the code; return the job's id.

    Parameters
    ----------
    wheel
        Foveate's wheel; None takes the code that runs here.
    words, width
        As for :meth:`Jobs.submit`.
    """
    with tempfile.TemporaryDirectory(prefix="foveate-") as folder:
        return jobs.submit(words, packed(Path(folder), wheel), width=width)


def tune_words(config: SweepConfig, data: Path | str, out: str) -> list[str]:
    """Return the words of ``foveate tune`` that run a sweep as it is asked for here."""
    plain, usual = to_dict(config), to_dict(SweepConfig())
    changed = {key: value for key, value in plain.items() if key != "data" and value != usual[key]}
    settings = [f"{key}={_inline(value)}" for key, value in changed.items()]
    return ["tune", "--data", str(data), "--out", out, "--address", "auto", *settings]


def _inline(value: Any) -> str:
    """Return a value as an override takes it: a text as it stands, all else as YAML on one line."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump([value], default_flow_style=True, width=10**9, sort_keys=False).strip()[1:-1]
