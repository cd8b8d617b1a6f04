"""What the latest picks leave of each candidate: the part of its vector that they do not span.

The picks' orthonormal directions are never formed: the shadow that a candidate casts on each is enough, a row of the
Cholesky factor of the candidates' Gram matrix. An item that nothing is known of is like no other, so a vector shorter
than 1 is taken to have the rest of its length in a direction of its own.
Source: Chen, Zhang and Zhou, Fast greedy MAP inference for determinantal point process (2018), sections 3 and 4.

Shapes: ``N`` candidates, ``D`` content columns, ``W`` remembered picks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FLAT = np.float32(1e-6)
"""A squared length below which a pick adds no direction: it is rounding."""

_JITTER = 1e-5
"""Keeps the Gram matrix of picks that are alike from being singular."""


class Remainder:
    """The squared length that is left of every candidate, pick after pick.

    Parameters
    ----------
    vectors
        ``[N, D]`` float32 rows of length 1 or less.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors_ND = vectors
        self._own_N = 1.0 - np.einsum("nd,nd->n", vectors, vectors)
        self._picks: list[int] = []
        self._likeness_WN = np.empty((0, len(vectors)), dtype=np.float32)
        self._shadows_WN = self._likeness_WN
        self.square_N = np.ones(len(vectors), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._picks)

    def add(self, pick: int) -> None:
        """Take away from each candidate what it shares with one more pick."""
        likeness_N = self._vectors_ND @ self._vectors_ND[pick]
        likeness_N[pick] += self._own_N[pick]
        square = self.square_N[pick]
        shadow_N = np.zeros_like(likeness_N)
        if square > _FLAT:
            shadow_N = (likeness_N - self._shadows_WN[:, pick] @ self._shadows_WN) / np.sqrt(square)
        self._picks.append(pick)
        self._likeness_WN = np.concatenate([self._likeness_WN, likeness_N[None, :]])
        self._shadows_WN = np.concatenate([self._shadows_WN, shadow_N[None, :]])
        self.square_N = np.maximum(self.square_N - shadow_N**2, 0.0)

    def give_back_first(self) -> None:
        """Forget the oldest pick and give back its own shadow; the others keep their directions."""
        self.square_N = self.square_N + self._shadows_WN[0] ** 2
        self._shadows_WN = self._shadows_WN[1:]
        self._drop_first()

    def forget_first(self) -> None:
        """Forget the oldest pick as if it had never been: the others take the directions that they have without it."""
        self._drop_first()
        block_WW = self._likeness_WN[:, self._picks] + _JITTER * np.eye(len(self._picks))
        factor_WW = np.linalg.inv(np.linalg.cholesky(block_WW)).astype(np.float32)
        self._shadows_WN = factor_WW @ self._likeness_WN
        self.square_N = np.maximum(1.0 - np.einsum("wn,wn->n", self._shadows_WN, self._shadows_WN), 0.0)

    def _drop_first(self) -> None:
        self._picks = self._picks[1:]
        self._likeness_WN = self._likeness_WN[1:]
