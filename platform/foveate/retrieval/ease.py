"""A linear autoencoder over items, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from foveate.core.errors import TrainingError
from foveate.core.space import LogUniform, Space
from foveate.data.catalog import Catalog
from foveate.retrieval.base import Arrays, FitContext, SourceConfig
from foveate.retrieval.sparse import Neighbours, interest_matrix, query_interest


@dataclass(frozen=True)
class Ease(SourceConfig):
    """EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019, equation 8).

    Time grows with the cube of the number of items and memory with its square, four bytes a pair.

    Parameters
    ----------
    regularisation
        Added to the diagonal of the item-item counts.
    max_items
        A catalogue with more items than this is refused.
    """

    name = "ease"

    regularisation: float = 250.0
    max_items: int = 16_000

    def __post_init__(self) -> None:
        if self.regularisation <= 0:
            raise ValueError(f"regularisation must be above 0, got {self.regularisation}")

    def fit(self, context: FitContext) -> Neighbours:
        """Solve for the item-item weights.

        Raises
        ------
        TrainingError
            There are more than ``max_items`` items, or the counts cannot be inverted in single precision.
        """
        n_items = context.histories.n_items
        if n_items > self.max_items:
            gib = n_items**2 * 4 / 2**30
            remedy = "leave this source out or raise max_items"
            raise TrainingError(f"ease: {n_items} items need {gib:.0f} GiB, more than max_items allows: {remedy}")
        seen_UI = interest_matrix(context.histories)
        gram_II = (seen_UI.T @ seen_UI).toarray(order="F")
        gram_II[np.diag_indices(n_items)] += self.regularisation
        return Neighbours(self.name, _weights(gram_II), query_interest)

    def restore(self, arrays: Arrays, catalog: Catalog) -> Neighbours:
        del catalog
        return Neighbours(self.name, arrays["weights"].astype(np.float32, copy=False), query_interest)

    @classmethod
    def search_space(cls) -> Space:
        return {"regularisation": LogUniform(10.0, 2000.0)}


def _weights(gram_II: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``-P / diag(P)`` with a zero diagonal, where ``P`` is the inverse of ``gram_II``, which is overwritten."""
    factor_II, fault = lapack.spotrf(gram_II, lower=True, overwrite_a=True, clean=False)
    if not fault:
        factor_II, fault = lapack.spotri(factor_II, lower=True, overwrite_c=True)
    if fault:
        raise TrainingError("ease: the item counts cannot be inverted in single precision: raise regularisation")
    # Only the lower triangle is filled in; P is symmetric.
    inverse_II = np.tril(factor_II)
    inverse_II += np.tril(inverse_II, -1).T
    weights_II = inverse_II / -np.diag(inverse_II)
    np.fill_diagonal(weights_II, 0.0)
    return np.ascontiguousarray(weights_II, dtype=np.float32)
