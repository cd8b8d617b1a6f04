"""Many small trees read at once: which leaf each row ends in, found by ANDs of bits instead of by walks.

A walk down a tree waits for memory at every split. Here each tree is a few bits, one a leaf, the leftmost lowest. A
split whose test fails rules out the leaves on its left; of what all failed splits leave, the lowest bit is the leaf
that a walk would have come to. For each feature and each step between its thresholds the bits that its failed splits
leave are laid down beforehand, so that a row costs one look-up and one AND a feature.
Source: Lucchese et al., QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees
(SIGIR 2015), section 3.

Shapes: ``N`` rows, ``F`` columns, ``T`` trees, ``L`` leaves a tree at most, ``P`` steps of one feature, ``W`` words of
64 bits that hold the bits of all trees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]

_BITS = (16, 32)
"""Leaves that a tree may have, and so the bits of one."""
_ROWS = 256
"""Rows read together: their bits stay in the processor's cache."""
_LARGEST = 64 << 20
"""Bytes that the words of all steps may take: beyond, walks are the faster way again."""


@dataclass(frozen=True)
class _Split:
    """A test that a value lies at or below ``threshold``; ``rules_out`` are the leaves on its left, as bits."""

    tree: int
    feature: int
    threshold: np.float32
    rules_out: int


@dataclass(frozen=True)
class _Feature:
    """Its column, its thresholds ascending, and ``[P, W]`` what its failed splits leave of all trees."""

    column: int
    thresholds: NDArray[np.float32]
    words: Words


class Trees:
    """The trees of several boosters together.

    Parameters
    ----------
    features
        Those that a split asks for.
    values
        ``[T, L]``: what each leaf adds; 64 bits hold those of whole trees.
    """

    def __init__(self, features: Sequence[_Feature], values: Floats) -> None:
        self._features = features
        self._bits = np.dtype(f"u{values.shape[1] // 8}")
        self._values = np.ascontiguousarray(values.ravel())
        # The exponent of 2 ** n as a float is n + 127.
        self._first_T = np.arange(len(values), dtype=np.int32) * values.shape[1] - 127

    @classmethod
    def of(cls, boosters: Sequence[lgb.Booster]) -> Trees | None:
        """Lay down what is needed; None where trees are too large, or split otherwise than by a threshold."""
        roots = [tree["tree_structure"] for one in boosters for tree in one.dump_model()["tree_info"]]
        leaves = [list(_leaves(root)) for root in roots]
        splits = [split for tree, root in enumerate(roots) for split in _splits(root, tree, 0)]
        most = max(map(len, leaves), default=0)
        bits = next((bits for bits in _BITS if most <= bits), None)
        if bits is None or None in splits:
            return None
        padded = -(-len(roots) * bits // 64) * 64 // bits
        values = np.zeros((padded, bits))
        for tree, own in enumerate(leaves):
            values[tree, : len(own)] = own
        by_column: dict[int, list[_Split]] = {}
        for split in splits:
            if split is not None:
                by_column.setdefault(split.feature, []).append(split)
        if sum(len(own) + 1 for own in by_column.values()) * padded * bits // 8 > _LARGEST:
            return None
        return cls([_feature(column, own, padded, bits) for column, own in sorted(by_column.items())], values)

    def sums(self, rows_NF: NDArray[np.float32]) -> Floats:
        """Return ``[N]`` what the leaves add up to; every value must be finite."""
        parts = [self._sums(rows_NF[start : start + _ROWS]) for start in range(0, len(rows_NF), _ROWS)]
        return np.concatenate([np.empty(0), *parts])

    def _sums(self, rows_NF: NDArray[np.float32]) -> Floats:
        columns_FN = np.ascontiguousarray(rows_NF.T)
        bits_NT = np.full((len(rows_NF), len(self._first_T)), np.iinfo(self._bits).max, dtype=self._bits)
        left_NW = bits_NT.view(np.uint64)
        left_of_feature_NW = np.empty_like(left_NW)
        for feature in self._features:
            step_N = feature.thresholds.searchsorted(columns_FN[feature.column])
            np.take(feature.words, step_N, axis=0, out=left_of_feature_NW, mode="clip")
            np.bitwise_and(left_NW, left_of_feature_NW, out=left_NW)
        lowest_NT = bits_NT & (~bits_NT + self._bits.type(1))
        leaf_NT = lowest_NT.astype(np.float32).view(np.int32)
        leaf_NT >>= 23
        leaf_NT += self._first_T
        return np.asarray(self._values.take(leaf_NT).sum(axis=1))


def _feature(column: int, splits: Sequence[_Split], n_trees: int, bits: int) -> _Feature:
    thresholds = np.unique(np.array([split.threshold for split in splits], dtype=np.float32))
    dtype = np.dtype(f"u{bits // 8}")
    words_PT = np.full((len(thresholds) + 1, n_trees), np.iinfo(dtype).max, dtype=dtype)
    for split in splits:
        # A value at a threshold passes it: what lies above fails.
        words_PT[thresholds.searchsorted(split.threshold) + 1, split.tree] &= dtype.type(
            ~split.rules_out & (1 << bits) - 1
        )
    return _Feature(column, thresholds, np.bitwise_and.accumulate(words_PT, axis=0).view(np.uint64))


def _at_most(threshold: float) -> np.float32:
    """Return the largest float32 that is not above a threshold: a float32 value passes both or none."""
    near = np.float32(threshold)
    return near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf))


def _leaves(node: dict[str, Any]) -> Iterator[float]:
    """Yield what the leaves below a node add, from left to right."""
    if "leaf_value" in node:
        yield float(node["leaf_value"])
        return
    yield from _leaves(node["left_child"])
    yield from _leaves(node["right_child"])


def _splits(node: dict[str, Any], tree: int, first: int) -> Iterator[_Split | None]:
    """Yield the splits at and below a node whose leftmost leaf is ``first``; None for one that no threshold makes."""
    if "leaf_value" in node:
        return
    width = sum(1 for _ in _leaves(node["left_child"]))
    if node["decision_type"] == "<=" and node["missing_type"] != "Zero":
        rules_out = ((1 << width) - 1) << first
        yield _Split(tree, int(node["split_feature"]), _at_most(float(node["threshold"])), rules_out)
    else:
        yield None
    yield from _splits(node["left_child"], tree, first)
    yield from _splits(node["right_child"], tree, first + width)
