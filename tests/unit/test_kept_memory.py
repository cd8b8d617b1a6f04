"""Memory that is kept between training steps comes from the kernel once."""

from __future__ import annotations

import ctypes
import resource

import pytest
import torch

from foveate.encoder.memory import kept_memory

PARTS, VALUES = 16, 1 << 20
"""64 MiB in all, in parts small enough for the C library to hand them back one by one."""


def faults_of_a_step() -> int:
    """Take and free memory as a step does, and return how many pages the kernel had to clear for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(VALUES) for _ in range(PARTS)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
def test_a_step_finds_the_memory_of_the_one_before() -> None:
    pages = PARTS * VALUES * 4 // resource.getpagesize()
    with kept_memory():
        faults_of_a_step()
        assert faults_of_a_step() < pages / 8
    # Outside it goes back, so that a process that has trained does not stay as large as it was.
    faults_of_a_step()
    assert faults_of_a_step() > pages / 2
