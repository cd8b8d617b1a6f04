"""Memory that a training step frees is kept for the next step."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of these settings in glibc's ``malloc.h``."""
_KEPT_MMAP, _KEPT_TRIM = 1 << 30, (1 << 31) - 1
_USUAL_MMAP, _USUAL_TRIM = 1 << 25, 1 << 26
"""Bytes: as much as the C library can be told to keep, and its own limits, to which it goes back."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let the C library keep what is freed, up to two gibibytes, until the block ends.

    Left alone it hands the tensors of a long history back to the kernel after every step, which clears each page of
    them again for the next: a third of a step over 8,192 events. Where the C library is another, nothing is done.
    """
    if not _settle(_KEPT_MMAP, _KEPT_TRIM):
        yield
        return
    try:
        yield
    finally:
        _settle(_USUAL_MMAP, _USUAL_TRIM)
        ctypes.CDLL(None).malloc_trim(0)


def _settle(from_kernel: int, kept: int) -> bool:
    """Set from how many bytes an allocation is the kernel's own, and how many free ones stay; False if that fails."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # In this order: set alone, the second would fix the first at 128 KiB, and every tensor would come from the kernel.
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, from_kernel)) and bool(mallopt(_TRIM_THRESHOLD, kept))
