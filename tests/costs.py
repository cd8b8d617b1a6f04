"""What a piece of work costs, counted and not timed, so that a busy machine changes nothing.

A contract asks the same work of two sizes and bounds how much more the larger one takes: see :func:`grown`.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

LINEAR = 8.0
"""Between 4 and 16: how many times as much work of four times the size takes where it grows with its size, or with the
square of that."""


@dataclass(frozen=True)
class TensorCost:
    """What one piece of work took of PyTorch."""

    allocated: int
    """Bytes of all tensors that operations made, whether they lived at once or not."""
    operations: int
    """Calls of operations, forward and backward: a loop shows here."""
    flops: int
    """Floating point operations of products, convolutions and attention."""


@dataclass(frozen=True)
class PythonCost:
    """What one piece of work took of Python and NumPy."""

    peak: int
    """Most bytes that were held at once."""
    calls: int
    """Calls of functions, built-in ones too: a loop shows here."""


Cost = TypeVar("Cost", TensorCost, PythonCost)


class _Allocations(TorchDispatchMode):
    """Counts operations and the bytes of what they return, views and what is written in place left out."""

    def __init__(self) -> None:
        super().__init__()
        self.allocated = 0
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        known = {_storage(given).data_ptr() for given in tree_leaves((args, kwargs)) if isinstance(given, torch.Tensor)}
        made = {_storage(one) for one in tree_leaves(result) if isinstance(one, torch.Tensor)}
        self.allocated += sum(one.nbytes() for one in made if one.data_ptr() not in known)
        return result


def tensor_cost(work: Callable[[], object]) -> TensorCost:
    """Do a piece of work twice, and return what it took the second time: some things are made but once."""
    work()
    with _Allocations() as tensors, FlopCounterMode(display=False) as flops:
        work()
    return TensorCost(tensors.allocated, tensors.operations, flops.get_total_flops())


def python_cost(work: Callable[[], object]) -> PythonCost:
    """Do a piece of work three times, and return what it took after the first time."""
    work()
    calls = _calls(work)
    tracemalloc.start()
    try:
        work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return PythonCost(peak, calls)


def grown(small: Cost, large: Cost) -> dict[str, float]:
    """Return how many times as much the larger work took, for each count that the smaller has."""
    counts = {name: (count, getattr(large, name)) for name, count in vars(small).items() if count}
    return {name: more / less for name, (less, more) in counts.items()}


def _calls(work: Callable[[], object]) -> int:
    count = 0

    def seen(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
