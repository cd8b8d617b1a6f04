"""Viewers and items as short vectors, found by alternating least squares.

Shapes: ``B`` queries, ``I`` items, ``F`` factors, ``H`` distinct items of one history, ``N`` items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Query
from foveate.core.space import Choice, LogUniform, Space
from foveate.data.catalog import Catalog
from foveate.retrieval.attribution import Attribution
from foveate.retrieval.base import Arrays, CandidateSource, FitContext, SourceConfig
from foveate.retrieval.sparse import interest_matrix, query_interest


class Factors(CandidateSource):
    """Item vectors; the viewer's is solved for from the query's own history, so a viewer need not be known before.

    Parameters
    ----------
    name
        Name of the source.
    item_IF
        float32 item vectors.
    alpha, regularisation
        Those that the item vectors were found with.
    """

    def __init__(self, name: str, item_IF: NDArray[np.float32], *, alpha: float, regularisation: float) -> None:
        self.name = name
        self._item_IF = item_IF
        self._alpha = alpha
        exact_IF = item_IF.astype(np.float64)
        self._gram_FF = exact_IF.T @ exact_IF + regularisation * np.eye(item_IF.shape[1])

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``: 0 everywhere for a viewer without a history."""
        history_BI = query_interest(queries, len(self._item_IF))
        user_BF = np.zeros((len(queries), self._item_IF.shape[1]), dtype=np.float32)
        for row, (start, end) in enumerate(zip(history_BI.indptr[:-1], history_BI.indptr[1:], strict=True)):
            user_BF[row] = self._viewer(self._item_IF[history_BI.indices[start:end]])
        return user_BF @ self._item_IF.T

    def attribute(self, query: Query, items: NDArray[np.int32]) -> Attribution:
        """Return the terms of each score, one an item of the history (Hu et al., 2008, section 5)."""
        own = self.read(query)
        own_HF = self._item_IF[own].astype(np.float64)
        near_NH = self._item_IF[items] @ np.linalg.solve(self._normal_matrix(own_HF), own_HF.T)
        return Attribution(own, ((1 + self._alpha) * near_NH).astype(np.float32))

    def _viewer(self, own_HF: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return ``[F]``, the vector of a viewer of these items (Hu et al., 2008, equation 4)."""
        exact_HF = own_HF.astype(np.float64)
        return np.linalg.solve(self._normal_matrix(exact_HF), (1 + self._alpha) * exact_HF.sum(axis=0))

    def _normal_matrix(self, exact_HF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``[F, F]``: the items' products, those of the viewer's own items weighing more."""
        return self._gram_FF + self._alpha * (exact_HF.T @ exact_HF)

    def arrays(self) -> Arrays:
        """Return the item vectors."""
        return {"items": self._item_IF}


@dataclass(frozen=True)
class Als(SourceConfig):
    """Matrix factorisation of interest, seen pairs weighing more than unseen ones.

    Source: Hu, Koren and Volinsky, Collaborative filtering for implicit feedback datasets (2008), section 4.

    Parameters
    ----------
    factors
        Length of the vectors.
    regularisation
        Weight of the vectors' squared lengths.
    alpha
        How much more than an unseen pair a seen one weighs: confidence is ``1 + alpha`` against 1.
    iterations
        How often viewers and items take turns.
    threads
        CPU threads to fit with; 0 takes all.
    """

    name = "als"

    factors: int = 128
    regularisation: float = 1.0
    alpha: float = 5.0
    iterations: int = 15
    threads: int = 1

    def __post_init__(self) -> None:
        if min(self.factors, self.iterations) < 1 or self.threads < 0:
            raise ValueError("factors and iterations must be 1 or more, threads 0 or more")
        if self.regularisation <= 0 or self.alpha < 0:
            raise ValueError("regularisation must be above 0, alpha 0 or more")

    def fit(self, context: FitContext) -> Factors:
        """Find the item vectors."""
        # Imported here: a served bundle needs the item vectors alone.
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415
        from threadpoolctl import threadpool_limits  # noqa: PLC0415

        confidence_UI = (1 + self.alpha) * interest_matrix(context.histories)
        # It spreads the rows over its own threads, which would fight with those of BLAS.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularisation,
                iterations=self.iterations,
                num_threads=self.threads,
                random_state=context.seed,
            )
            model.fit(confidence_UI, show_progress=False)
        return self._factors(np.ascontiguousarray(model.item_factors, dtype=np.float32))

    def restore(self, arrays: Arrays, catalog: Catalog) -> Factors:
        del catalog
        return self._factors(arrays["items"].astype(np.float32, copy=False))

    def _factors(self, item_IF: NDArray[np.float32]) -> Factors:
        return Factors(self.name, item_IF, alpha=self.alpha, regularisation=self.regularisation)

    @classmethod
    def search_space(cls) -> Space:
        return {
            "factors": Choice((32, 64, 128, 256)),
            "regularisation": LogUniform(0.01, 10.0),
            "alpha": LogUniform(1.0, 100.0),
        }
