"""An encoder trained by several processes: Ray Train starts them, and starts them anew where one died."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import ray
import torch.distributed as dist
from ray import train
from ray.train.torch import TorchTrainer

from foveate.core.errors import ConfigError, TrainingError
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.worker_group import Work, WorkerGroupConfig, partition
from foveate_cluster.connection import check_room, quiet
from foveate_cluster.ray_cluster import ray_cluster
from foveate_cluster.remote import Refused, error_of, guarded, relayed
from foveate_cluster.resources import Resources
from foveate_cluster.worker_group import begun, is_first, report, scaling_config_of, why_failed

_REPORT_SECONDS: Final = 0.5


@dataclass(frozen=True)
class RayWorkerGroup:
    """A :class:`foveate.data.worker_group.WorkerGroup` on the connected cluster, or on one that it starts.

    Parameters
    ----------
    config
        How many workers, and what each takes.
    place
        A folder that every worker sees, in which checkpoints lie while they train; None takes a temporary one of this
        machine.
    """

    config: WorkerGroupConfig
    place: Path | None = None

    def __call__(self, work: Work, context: FitContext) -> Any:
        """Deal the viewers out and have every worker train on its own.

        Raises
        ------
        ConfigError
            The cluster has no room for so many workers, or there are fewer viewers than workers.
        TrainingError
            Workers died more often than they are started anew.
        FoveateError
            What the work itself raised.
        """
        config = self.config
        need = Resources(config.cpus, config.gpus, config.resources)
        # What each reads for itself it is not sent.
        parts = [_nothing(context)] if context.log else partition(context.histories, config.workers)
        shared = replace(context, worker_group=None, progress=None, shared=True, shard_items=config.shard_items)
        with (
            # One that is started here gives no more than this machine has: every worker is a process with torch in it.
            ray_cluster(None),
            quiet(),
            _scratch(self.place) as storage,
            relayed(context.progress) as (reporting, drain),
        ):
            check_room(need, config.workers, "train.workers")
            loop = {
                "work": work,
                "shares": [ray.put(replace(shared, histories=part, **reporting)) for part in parts],
            }
            with _drained(drain):
                answer = self._fit(loop, need, storage)
        if isinstance(answer, Refused):
            raise error_of(answer)
        return answer

    def _fit(self, loop: Mapping[str, Any], need: Resources, storage: Path) -> Any:
        trainer = TorchTrainer(
            _member,
            train_loop_config=dict(loop),
            # What they share out is memory: of a GPU each has its own, but of a node those that lie on it have one.
            scaling_config=scaling_config_of(self.config.workers, need, apart=not need.gpus),
            run_config=train.RunConfig(
                storage_path=str(storage),
                failure_config=train.FailureConfig(max_failures=self.config.retries),
                checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            ),
        )
        try:
            result: Any = trainer.fit()
        except train.TrainingFailedError as error:
            raise TrainingError(
                f"train.workers: training over Ray failed ({why_failed(error)}); with workers 0 one process trains"
            ) from error
        return result.return_value


def _member(loop: Mapping[str, Any]) -> Any:
    """Train beside the others on the viewers of this worker; what the first one returns is what is kept."""
    part, parts = train.get_context().get_world_rank(), train.get_context().get_world_size()
    shares = loop["shares"]
    context: FitContext = ray.get(shares[part % len(shares)])
    if context.log is not None:
        context = replace(context, histories=context.log.histories(context.catalog, part, parts))
    n_nodes = _nodes(parts)
    if not is_first():
        # All have the same news.
        context = replace(context, progress=None)
    elif context.progress is not None:
        context.progress(f"{parts} workers train together on {n_nodes} node{'s' * (n_nodes > 1)}")
    with begun() as folder:
        made = guarded(loop["work"], (context, _keep, folder), {})
    # What the others return would be sent too, and nobody would read it.
    return made if is_first() else None


def _nodes(workers: int) -> int:
    """Return on how many nodes they lie; all have to ask."""
    ids = [""] * workers
    dist.all_gather_object(ids, ray.get_runtime_context().get_node_id())
    return len(set(ids))


def _nothing(context: FitContext) -> Histories:
    """Return the histories of no viewer."""
    return Histories.of([], context.histories.n_items)


def _keep(save: Callable[[Path | None], None]) -> None:
    """Report an epoch to Ray Train, with the first worker's checkpoint: :data:`foveate.data.worker_group.Keep`."""
    if is_first():
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))
            report({}, Path(folder))
    else:
        save(None)
        report({}, None)


@contextmanager
def _scratch(place: Path | None) -> Iterator[Path]:
    """Make a folder for checkpoints that goes when the training ends."""
    try:
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".training.", dir=place)
    except OSError as error:
        raise ConfigError(f"train.workers: no checkpoint can be written to '{place}': {error.strerror}") from error
    with folder as name:
        yield Path(name)


@contextmanager
def _drained(drain: Callable[[], None]) -> Iterator[None]:
    """Pass the workers' news on while the block waits for them."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(_REPORT_SECONDS):
            drain()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        drain()
