"""The part of each candidate's vector that the latest picks do not span.

The picks' orthonormal directions are never formed: the shadow that a candidate casts on each is enough, a row of the
Cholesky factor of the candidates' Gram matrix. An item that nothing is known of is like no other, so a vector shorter
than 1 is taken to have the rest of its length in a direction of its own.
Source: Chen, Zhang and Zhou, Fast greedy MAP inference for determinantal point process (2018), sections 3 and 4.

Shapes: ``N`` candidates, ``D`` content columns, ``W`` remembered picks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

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
    most
        So many picks are remembered at once, at most.
    """

    def __init__(self, vectors: NDArray[np.float32], most: int) -> None:
        self._vectors_ND = vectors
        self._own_N = 1.0 - np.einsum("nd,nd->n", vectors, vectors)
        self._picks: list[int] = []
        # Rows are filled and moved in place: a slate is chosen in a fraction of a millisecond.
        self._likeness_WN = np.empty((most, len(vectors)), dtype=np.float32)
        self._shadows_WN = np.empty_like(self._likeness_WN)
        self.square_N = np.ones(len(vectors), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._picks)

    def add(self, pick: int) -> None:
        """Take away from each candidate what it shares with one more pick."""
        count = len(self._picks)
        likeness_N, shadow_N = self._likeness_WN[count], self._shadows_WN[count]
        np.dot(self._vectors_ND, self._vectors_ND[pick], out=likeness_N)
        likeness_N[pick] += self._own_N[pick]
        square = self.square_N[pick]
        if square > _FLAT:
            before_WN = self._shadows_WN[:count]
            np.subtract(likeness_N, before_WN[:, pick] @ before_WN, out=shadow_N)
            shadow_N *= 1.0 / np.sqrt(square)
        else:
            shadow_N[:] = 0.0
        self._picks.append(pick)
        self.square_N = np.maximum(self.square_N - shadow_N * shadow_N, np.float32(0.0))

    def give_back_first(self) -> None:
        """Forget the oldest pick and give back its own shadow; the others keep their directions."""
        self.square_N = self.square_N + self._shadows_WN[0] ** 2
        self._shadows_WN[: len(self._picks) - 1] = self._shadows_WN[1 : len(self._picks)]
        self._drop_first()

    def forget_first(self) -> None:
        """Forget the oldest pick as if it had never been: the others take the directions that they have without it."""
        likeness_WN = self._drop_first()
        block_WW = likeness_WN[:, self._picks].astype(np.float64)
        block_WW.flat[:: len(self._picks) + 1] += _JITTER
        # Of LAPACK itself: around matrices as small as these numpy's own checks take longer than the work.
        factor_WW, _ = lapack.dtrtri(lapack.dpotrf(block_WW, lower=1)[0], lower=1)
        shadows_WN = self._shadows_WN[: len(self._picks)]
        np.dot(factor_WW.astype(np.float32), likeness_WN, out=shadows_WN)
        self.square_N = np.maximum(1.0 - np.einsum("wn,wn->n", shadows_WN, shadows_WN), np.float32(0.0))

    def _drop_first(self) -> NDArray[np.float32]:
        """Forget how like the oldest pick candidates are; return the others' rows."""
        del self._picks[0]
        likeness_WN = self._likeness_WN[: len(self._picks)]
        likeness_WN[:] = self._likeness_WN[1 : len(self._picks) + 1]
        return likeness_WN
