"""Several processes that do one piece of work together, each on its own share of the viewers.

The library itself knows no cluster: whoever starts a training hands a :class:`WorkerGroup` in.

Shapes: ``U`` viewers, ``N`` positive interactions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from foveate.core.errors import ConfigError
from foveate.data.events import Histories

if TYPE_CHECKING:
    from foveate.data.fitting import FitContext

Keep: TypeAlias = Callable[[Callable[[Path | None], None]], None]
"""Keeps a checkpoint. Every process calls it after every epoch with what saves into a folder, and it calls that: in one
process with the folder, in the others with None, for a part that they may hold."""


@dataclass(frozen=True)
class WorkerGroupConfig:
    """How many processes of a Ray cluster train an encoder together, and what each takes.

    Parameters
    ----------
    workers
        How many; each holds the histories of its own viewers, and all take the same steps. 0 trains in one process.
        Without GPUs they lie on as many nodes as can be, for their memory; with some, on as few.
    shard_items
        Whether they also share the item vectors out, with gradients and the optimizer's state, for a catalogue whose
        table is larger than the memory of one GPU. A loss over the whole catalogue cannot be had then. To measure an
        epoch, to save it and to return, the table is gathered in the memory of each host, not on its GPUs.
    cpus
        CPUs of each.
    gpus
        GPUs of each, such as 1; then the encoder's ``device`` has to be ``auto`` or ``cuda``.
    resources
        Whatever else of a cluster's own names each takes.
    retries
        How often workers that died are started anew, from the last epoch's checkpoint.
    """

    workers: int = 0
    shard_items: bool = False
    cpus: int = 1
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    retries: int = 3

    def __post_init__(self) -> None:
        if min(self.workers, self.gpus, self.retries) < 0 or self.cpus < 1:
            raise ConfigError("train: workers, gpus and retries must be 0 or more, cpus 1 or more")
        if self.shard_items and self.workers < 2:
            raise ConfigError(
                f"train.shard_items: {self.workers} workers have nobody to share item vectors out to: "
                "set train.workers to 2 or more, or leave shard_items out"
            )


class Work(Protocol):
    """What every process of a worker group does; it can be pickled."""

    def __call__(self, context: FitContext, keep: Keep, resume: Path | None) -> Any:
        """Work on a share of the viewers, from the checkpoint in the folder ``resume`` on."""
        ...


class WorkerGroup(Protocol):
    """Has several processes work together; ``torch.distributed`` has brought them together where they work."""

    def __call__(self, work: Work, context: FitContext) -> Any:
        """Deal the viewers of ``context`` out, and return what the first process made of it.

        Raises
        ------
        FoveateError
            So many processes cannot be had, one of them failed too often, or the work itself cannot be done.
        """
        ...


def partition(histories: Histories, n_workers: int) -> list[Histories]:
    """Deal viewers out like cards: every hand holds the histories of every ``n_workers``-th viewer.

    Returns
    -------
    list of Histories
        Each of all viewers; those of others have no events in it.

    Raises
    ------
    ConfigError
        There are fewer viewers than hands.
    """
    if n_workers > histories.n_users:
        raise ConfigError(f"train.workers: {n_workers} workers for {histories.n_users} viewers: lower it")
    return [_rank(histories, rank, n_workers) for rank in range(n_workers)]


def _rank(histories: Histories, rank: int, n_workers: int) -> Histories:
    lengths_U = histories.lengths
    mine_U = np.arange(histories.n_users) % n_workers == rank
    rows = np.flatnonzero(np.repeat(mine_U, lengths_U))
    return Histories(
        offsets=np.concatenate([[0], np.cumsum(np.where(mine_U, lengths_U, 0))]).astype(np.int64),
        items=histories.items[rows],
        times=histories.times[rows],
        weights=histories.weights[rows],
        n_items=histories.n_items,
        facts=histories.facts and histories.facts.take(rows),
    )
