"""Memory that is kept between training steps comes from the kernel once, and goes back at the end."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from foveate.encoder.training.train import kept_memory

PARTS, VALUES = 16, 1 << 20
PAGES = PARTS * VALUES * 4 // resource.getpagesize()
"""Of 64 MiB."""


def faults_of_a_step() -> int:
    """Take and free memory as a step does, and return how many pages the kernel had to clear for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(VALUES) for _ in range(PARTS)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
def test_a_step_finds_the_memory_of_the_one_before() -> None:
    with kept_memory():
        steps = [faults_of_a_step() for _ in range(4)]
        kept = resident_pages()
    assert min(steps[1:]) < PAGES / 8
    assert resident_pages() < kept - PAGES / 2
