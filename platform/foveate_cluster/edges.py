"""Environment variables for as long as a block lasts: Ray and W&B read some of their settings from nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def environment(values: Mapping[str, str], *, keep: bool = False) -> Iterator[None]:
    """Set variables and put them back; ``keep`` leaves alone what the user has set."""
    before = {name: os.environ.get(name) for name in values}
    ours = {name: value for name, value in values.items() if not keep or before[name] is None}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            old = before[name]
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old
