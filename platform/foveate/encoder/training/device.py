"""The device of a training: its number format, its generators, and whether kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from foveate.core.errors import TrainingError

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
Compile: TypeAlias = Literal["auto", "always", "never"]

F = TypeVar("F", bound=Callable[..., object])


def device_of(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes a GPU where there is one.

    Raises
    ------
    TrainingError
        There is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}") from error


def number_format(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which matrix products are taken in ``precision``, weights staying float32.

    ``auto`` takes bfloat16 on a GPU that has it, for its range is float32's and no scaling of the loss is needed; a CPU
    without units for it is slower that way.
    """
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    low = precision == "bfloat16" or (precision == "auto" and able)
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def compiled(function: F, choice: Compile, device: torch.device) -> F:
    """Return ``function`` with its kernels fused by torch's compiler; ``auto`` compiles on a GPU alone.

    On a CPU it needs a C++ compiler, and its minute is longer than what it wins on a small encoder.
    """
    if choice == "never" or (choice == "auto" and device.type != "cuda"):
        return function
    # Lengths differ from batch to batch: without dynamic shapes each would be compiled anew.
    return cast("F", torch.compile(function, dynamic=True))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of the generators that training on ``device`` draws from."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put the generators back to what :func:`random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
