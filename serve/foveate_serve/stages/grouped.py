"""What a stage's batch needs: the calls of one bundle together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from foveate.bundle import Bundle
from foveate_serve.bundles.holder import BundleHolder

A = TypeVar("A")
R = TypeVar("R")


def by_bundle(
    holder: BundleHolder,
    calls: Sequence[A],
    *,
    pinned: Callable[[A], str],
    work: Callable[[Bundle, Sequence[A]], Sequence[R]],
) -> list[R]:
    """Answer calls that may pin different bundles: those of one bundle at a time.

    Parameters
    ----------
    pinned
        Returns the id of the bundle that a call pins.
    work
        Answers calls of one bundle, in their order.

    Raises
    ------
    BundleNotHeldError
        A pinned bundle is not held.
    """
    ids = [pinned(call) for call in calls]
    answers: dict[int, R] = {}
    for bundle_id in dict.fromkeys(ids):
        rows = [row for row, one in enumerate(ids) if one == bundle_id]
        results = work(holder.bundle(bundle_id), [calls[row] for row in rows])
        answers.update(zip(rows, results, strict=True))
    return [answers[row] for row in range(len(calls))]
