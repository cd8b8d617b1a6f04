"""Training of trees: by this process on all rows, or by the processes of a :class:`Grower` on a share each.

Shapes: ``R`` rows of all training queries, ``F`` features, ``Q`` training queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError

Parameters: TypeAlias = Mapping[str, Any]
"""LightGBM's own, by its names."""

_OF_THE_NETWORK = ("[machines:", "[num_machines:", "[local_listen_port:")
"""What LightGBM writes down of the machines that grew a model; a model does not depend on it."""


@dataclass(frozen=True)
class Rows:
    """What trees are grown from; the rows of one query lie together.

    Parameters
    ----------
    values, names
        ``[R, F]`` float32 and the names of its columns.
    labels
        ``[R]`` what a row should come to.
    groups
        ``[Q]`` int64: how many rows each query has.
    weights
        ``[R]`` how much a row counts; None counts all alike.
    start
        ``[R]`` float64 scores that the trees correct; None starts from nothing.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...]
    labels: NDArray[np.floating] | NDArray[np.integer]
    groups: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    start: NDArray[np.float64] | None = None

    def partition(self, n_workers: int) -> list[Rows]:
        """Deal whole queries out like cards, so that every hand holds as many, of all windows.

        Raises
        ------
        ConfigError
            There are fewer queries than hands.
        """
        if n_workers > len(self.groups):
            raise ConfigError(f"ranker.workers: {n_workers} workers for {len(self.groups)} training queries: lower it")
        query_R = np.repeat(np.arange(len(self.groups)), self.groups)
        return [self._subset(query_R % n_workers == rank, self.groups[rank::n_workers]) for rank in range(n_workers)]

    def _subset(self, rows: NDArray[np.bool_], groups: NDArray[np.int64]) -> Rows:
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            groups=groups,
            weights=None if self.weights is None else self.weights[rows],
            start=None if self.start is None else self.start[rows],
        )


class Grower(Protocol):
    """Grows trees elsewhere: the library itself knows no cluster, so whoever starts a training hands one in."""

    def __call__(self, rows: Rows, members: Sequence[Parameters], *, trees: int, workers: int) -> list[str]:
        """Return the text of a model for each of ``members``, all grown by ``workers`` processes.

        Raises
        ------
        FoveateError
            So many workers cannot be had, or one of them failed.
        """
        ...


def grow(rows: Rows, parameters: Parameters, trees: int) -> lgb.Booster:
    """Grow one model in this process; where ``parameters`` name other machines, together with them."""
    threads = parameters.get("num_threads", 1)
    data = lgb.Dataset(
        rows.values,
        label=rows.labels,
        weight=rows.weights,
        group=rows.groups,
        init_score=rows.start,
        feature_name=list(rows.names),
        params={"verbosity": -1, "max_bin": 255, "num_threads": threads},
    )
    return lgb.train(dict(parameters), data, num_boost_round=trees)


def text_of(booster: lgb.Booster) -> str:
    """Return LightGBM's own text of a model, without the addresses of the machines that grew it."""
    lines = booster.model_to_string().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(_OF_THE_NETWORK))
