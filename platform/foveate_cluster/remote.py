"""Any function of the library on a Ray cluster: what ``train`` and ``evaluate`` do with ``--address``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.util.queue import Queue

from foveate.core import errors
from foveate.core.errors import FoveateError
from foveate.core.progress import Update, report_progress
from foveate_cluster.connection import cluster
from foveate_cluster.resources import Resources

T = TypeVar("T")

_DRAIN_SECONDS = 0.5
_CANCEL_SECONDS = 15.0


@dataclass(frozen=True)
class Refused:
    """A user's mistake found on the cluster; an error class of its own signature does not survive the way back."""

    kind: str
    message: str


def run_on_cluster(
    function: Callable[..., T],
    *args: Any,
    address: str,
    need: Resources | None = None,
    progress: Callable[[str], None] | None = None,
    **kwargs: Any,
) -> T:
    """Call ``function`` as one task on a cluster and return what it returns.

    Paths among the arguments must mean the same folder on every node.

    Parameters
    ----------
    address
        The cluster's address, or ``auto``.
    need
        What the task takes; one CPU unless told.
    progress
        Called here with the lines of news that ``function`` hands to its own ``progress``.

    Raises
    ------
    ConfigError
        No cluster answers at ``address``, or none of its nodes is large enough.
    FoveateError
        What ``function`` raised.
    """
    need = need or Resources()
    with cluster(address, need):
        task: Any = ray.remote(guarded).options(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=0)
        with relayed(progress) as (reporting, drain):
            running = task.remote(function, args, kwargs | reporting)
            answer: T | Refused = _awaited(running, drain)
    if isinstance(answer, Refused):
        raise error_of(answer)
    return answer


def _awaited(running: Any, drain: Callable[[], None]) -> Any:
    try:
        while not ray.wait([running], timeout=_DRAIN_SECONDS)[0]:
            drain()
        drain()
        return ray.get(running)
    except KeyboardInterrupt:
        # Interrupted there as well, it removes what is half-written.
        ray.cancel(running, force=False)
        ray.wait([running], timeout=_CANCEL_SECONDS)
        raise


@contextmanager
def relayed(progress: Callable[[str], None] | None) -> Iterator[tuple[dict[str, Any], Callable[[], None]]]:
    """Yield the argument to hand to the function there, and what passes its lines on here."""
    if progress is None:
        yield {}, lambda: None
        return
    queue = Queue(actor_options={"num_cpus": 0})

    def drain() -> None:
        for item in queue.get_nowait_batch(queue.qsize()):
            if isinstance(item, str):
                progress(item)
            else:
                report_progress(progress, item)

    try:
        yield {"progress": _Line(queue)}, drain
    finally:
        queue.shutdown(force=True)


class _Line:
    """A ``progress`` that can travel."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __call__(self, line: str) -> None:
        self._queue.put(line)

    def show(self, update: Update) -> None:
        """Send figures too: who listens at the other end knows whether to draw them."""
        self._queue.put(update)


def guarded(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T | Refused:
    """Call a function, and return what a user is to be told where it cannot be done."""
    try:
        return function(*args, **kwargs)
    except FoveateError as error:
        return Refused(type(error).__name__, str(error))


def error_of(refused: Refused) -> FoveateError:
    """Return the error that was found elsewhere."""
    kind = getattr(errors, refused.kind, FoveateError)
    # A class that is built from more than its message keeps the message alone.
    return kind(refused.message) if kind.__init__ is Exception.__init__ else FoveateError(refused.message)
