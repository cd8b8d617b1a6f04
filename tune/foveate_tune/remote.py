"""Any function of the library on a Ray cluster: what ``train`` and ``evaluate`` do with ``--address``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import ray

from foveate import errors
from foveate.errors import FoveateError
from foveate_tune.cluster import Resources, cluster

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class _Refused:
    """A user's mistake found on the cluster; an error class of its own signature does not survive the way back."""

    kind: str
    message: str


def run_on_cluster(
    function: Callable[..., T], *args: Any, address: str, cpus: int = 1, gpus: float = 0.0, **kwargs: Any
) -> T:
    """Call ``function`` as one task on a cluster and return what it returns.

    Paths among the arguments must mean the same folder on every node.

    Parameters
    ----------
    address
        The cluster's address, or ``auto``.
    cpus, gpus
        What the task takes.

    Raises
    ------
    ConfigError
        No cluster answers at ``address``, or none of its nodes is large enough.
    FoveateError
        What ``function`` raised.
    """
    with cluster(address, Resources(cpus, gpus)):
        task: Any = ray.remote(_guarded).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)
        answer: T | _Refused = ray.get(task.remote(function, args, kwargs))
    if isinstance(answer, _Refused):
        raise _error(answer)
    return answer


def _guarded(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T | _Refused:
    try:
        return function(*args, **kwargs)
    except FoveateError as error:
        return _Refused(type(error).__name__, str(error))


def _error(refused: _Refused) -> FoveateError:
    kind = getattr(errors, refused.kind, FoveateError)
    # A class that is built from more than its message keeps the message alone.
    return kind(refused.message) if kind.__init__ is Exception.__init__ else FoveateError(refused.message)
