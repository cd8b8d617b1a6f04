"""From what is known of an item to its place among the encoder's items: vectors for items that no history holds.

A ridge regression from an item's facts to the vector that the encoder has learned of it, fitted on the items that
histories hold. So a new video is found on its first day, by every encoder, whatever its inputs are.

Source: Gantner et al., Learning Attribute-to-Feature Mappings for Cold-Start Recommendations (2010), section IV. The
penalty is chosen on items that were left out.

Shapes: ``I`` items, ``F`` hashed facts, ``D`` width.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import linalg, sparse

from foveate.data.schema import as_items

Vectors = NDArray[np.float32]
Arrays = Mapping[str, NDArray[np.generic]]

FACTS: Final = 2_048
"""``F``: facts are hashed to so many columns, so that a tag or word of tomorrow has one too."""
_PENALTIES: Final = (3.0, 10.0, 30.0, 100.0)
_HELD_OUT: Final = 0.2
"""Share of the known items on which the penalty is chosen."""
_FEW: Final = 20
"""Known items below which nothing is learned."""
_MOST: Final = 50_000
"""Known items that are learned from at most, those with the most events."""
_PRIOR: Final = 5.0
"""Events at which an item counts half: the vector of one that few have watched is mostly noise."""
_TOP: Final = 10
_FIRST: Final = 0.1
"""Share of the first ten places that go to new items where there are as many of them as of known ones."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_YEAR: Final = re.compile(r"\((\d{4})\)")


@dataclass(frozen=True)
class ContentMap:
    """A fitted map.

    Parameters
    ----------
    weight_FD
        What each fact adds.
    rarity_F
        What a fact counts for: rare ones say more.
    mean_D
        Where an item lies that nothing is known of.
    length
        Median length of the learned vectors; mapped ones are scaled to it.
    agreement
        Mean cosine of mapped and learned vectors, both less the mean, on items that were left out.
    trust
        What a score by a mapped vector is multiplied by. A vector without what is particular to an item lies nearer to
        every viewer than the item does: see :meth:`trusted`.
    offset
        What is added to such a score.
    """

    weight_FD: Vectors
    rarity_F: Vectors
    mean_D: Vectors
    length: float
    agreement: float
    trust: float = 1.0
    offset: float = 0.0

    @classmethod
    def fit(cls, items: pl.DataFrame, vector_ID: Vectors, counts_I: NDArray[np.integer], seed: int) -> Self | None:
        """Learn from the items that histories hold; None where they are too few.

        Parameters
        ----------
        items
            A row an item, with columns of :data:`foveate.data.schema.ITEMS`.
        vector_ID
            What the encoder has learned.
        counts_I
            How often each item stands in a history.
        """
        known = np.sort(np.argsort(-counts_I, kind="stable")[: min(_MOST, np.count_nonzero(counts_I))])
        if len(known) < _FEW:
            return None
        hashed_IF = hashed_facts(items[known])
        rarity_F = np.log((1 + len(known)) / (1 + hashed_IF.getnnz(axis=0))).astype(np.float32)
        facts_IF, target_ID = unit_facts(hashed_IF, rarity_F), vector_ID[known].astype(np.float64)
        trust_I = counts_I[known] / (counts_I[known] + _PRIOR)
        mean_D = np.average(target_ID, axis=0, weights=trust_I)
        order = np.random.default_rng(seed).permutation(len(known))
        out, rest = np.split(order, [round(_HELD_OUT * len(order))])
        solve = _Ridge(facts_IF[rest], target_ID[rest] - mean_D, trust_I[rest])
        agreements = [
            _agreement(facts_IF[out] @ solve(penalty), target_ID[out] - mean_D, trust_I[out]) for penalty in _PENALTIES
        ]
        best = int(np.argmax(agreements))
        weight_FD = _Ridge(facts_IF, target_ID - mean_D, trust_I)(_PENALTIES[best])
        length = float(np.median(np.linalg.norm(target_ID, axis=1)))
        return cls(weight_FD.astype(np.float32), rarity_F, mean_D.astype(np.float32), length, agreements[best])

    def vectors(self, items: pl.DataFrame) -> Vectors:
        """Return ``[I, D]``: where items lie, by what is known of them."""
        vector_ID = self.mean_D + unit_facts(hashed_facts(items), self.rarity_F) @ self.weight_FD
        lengths_I1 = np.linalg.norm(vector_ID, axis=1, keepdims=True)
        scale_I1 = self.length / np.maximum(lengths_I1, np.finfo(np.float32).tiny)
        return np.asarray(vector_ID * scale_I1, dtype=np.float32)

    def trusted(self, score_BI: Vectors, mapped_BI: Vectors) -> Self:
        """Return the map with a trust by which new items take few of the best places from what has been watched.

        New items as many as the known ones would have :data:`_FIRST` of the first ten places. They are tried on
        viewers by exploration, which knows its odds, and not because of what nobody knows of them.

        Parameters
        ----------
        score_BI, mapped_BI
            Some viewers' scores of the known items, by their own vectors and by mapped ones.
        """
        tenth_B1, few = _tenth(score_BI)
        better = (tenth_B1 > 0) & (mapped_BI > 0)
        # At which trust each would come among the ten.
        reach = np.divide(tenth_B1, mapped_BI, out=np.full(mapped_BI.shape, np.inf, dtype=np.float32), where=better)
        return replace(self, trust=float(min(1.0, np.partition(reach, few, axis=None)[few])))

    def shifted(self, score_BI: Vectors, mapped_BI: Vectors) -> Self:
        """Return the map with an offset by which new items take as few places; parameters as for :meth:`trusted`."""
        tenth_B1, few = _tenth(score_BI)
        return replace(self, offset=float(np.partition(tenth_B1 - mapped_BI, few, axis=None)[few]))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return what :meth:`restore` needs."""
        numbers = np.array([self.length, self.agreement, self.trust, self.offset], dtype=np.float64)
        return {"weight": self.weight_FD, "rarity": self.rarity_F, "mean": self.mean_D, "numbers": numbers}

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """Make a map again from :meth:`arrays`."""
        numbers = (float(one) for one in np.asarray(arrays["numbers"], dtype=np.float64))
        weight_FD, rarity_F, mean_D = (
            np.asarray(arrays[name], dtype=np.float32) for name in ("weight", "rarity", "mean")
        )
        return cls(weight_FD, rarity_F, mean_D, *numbers)


def _tenth(score_BI: Vectors) -> tuple[Vectors, int]:
    """Return ``[B, 1]`` each viewer's tenth best score, and how many new items may lie above these together."""
    places = min(_TOP, score_BI.shape[1])
    return np.partition(score_BI, -places, axis=1)[:, -places, None], round(_FIRST * places * len(score_BI))


class _Ridge:
    """Weighted least squares from facts to vectors, for several penalties.

    Where there are fewer items than facts, the same answer comes cheaper from the products of items.
    """

    def __init__(
        self, facts_IF: sparse.csr_matrix, target_ID: NDArray[np.float64], trust_I: NDArray[np.float64]
    ) -> None:
        self._few = facts_IF.shape[0] < facts_IF.shape[1]
        self._facts_IF, self._trust_I = facts_IF, trust_I
        if self._few:
            self._square = (facts_IF @ facts_IF.T).toarray().astype(np.float64)
            self._product = target_ID
        else:
            weighted_FI = (sparse.diags_array(trust_I) @ facts_IF).T.tocsr()
            self._square = (weighted_FI @ facts_IF).toarray().astype(np.float64)
            self._product = np.asarray(weighted_FI @ target_ID, dtype=np.float64)

    def __call__(self, penalty: float) -> NDArray[np.float64]:
        """Return ``[F, D]`` the weights."""
        scale = 1.0 / self._trust_I if self._few else np.ones(len(self._square))
        solved = linalg.solve(self._square + np.diag(penalty * scale), self._product, assume_a="pos")
        return np.asarray(self._facts_IF.T @ solved if self._few else solved, dtype=np.float64)


def _agreement(mapped_ID: NDArray[Any], learned_ID: NDArray[Any], trust_I: NDArray[np.float64]) -> float:
    lengths_I = np.linalg.norm(mapped_ID, axis=1) * np.linalg.norm(learned_ID, axis=1)
    cosines_I = (mapped_ID * learned_ID).sum(axis=1) / np.maximum(lengths_I, np.finfo(np.float64).tiny)
    return float(np.average(cosines_I, weights=trust_I))


def hashed_facts(items: pl.DataFrame) -> sparse.csr_matrix:
    """``[I, F]``: 1 where an item has a fact of that column."""
    columns: list[int] = []
    offsets = [0]
    # Facts repeat from item to item: each is hashed once.
    column_of: dict[str, int] = {}
    for row in as_items(items).iter_rows(named=True):
        own = {column_of.setdefault(fact, _column(fact)) for fact in _facts(row)}
        columns += sorted(own)
        offsets.append(len(columns))
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((ones, columns, offsets), shape=(items.height, FACTS))


def _column(fact: str) -> int:
    # crc32 and not hash(): Python's own changes from process to process.
    return zlib.crc32(fact.encode("utf-8", "surrogatepass")) % FACTS


def _facts(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is known of an item, each fact as a text that begins with its kind."""
    if row["channel_id"] is not None:
        yield f"channel:{row['channel_id']}"
    categories = sorted(row["categories"] or ())
    yield from (f"category:{name}" for name in categories)
    # Two together say more than each: a comedy about crime is neither.
    yield from (f"pair:{one}|{other}" for at, one in enumerate(categories) for other in categories[at + 1 :])
    yield from (f"tag:{name}" for name in row["tags"] or ())
    title = row["title"] or ""
    yield from (f"word:{word}" for word in _WORD.findall(title.lower()))
    if row["language"]:
        yield f"language:{row['language']}"
    if row["duration_seconds"]:
        yield f"length:{round(np.log2(max(row['duration_seconds'], 1.0)))}"
    published = row["published_at"].year if row["published_at"] is not None else None
    year = published if published is not None else next((int(found) for found in _YEAR.findall(title)), None)
    if year is not None:
        # Years that overlap are close.
        yield from (f"years:{width}:{(year + shift) // width}" for width, shift in ((3, 0), (3, 1), (10, 0), (10, 5)))


def unit_facts(hashed_IF: sparse.csr_matrix, rarity_F: Vectors) -> sparse.csr_matrix:
    """Weigh facts by how rare they are, and bring each item to length 1."""
    weighted_IF = hashed_IF @ sparse.diags_array(rarity_F)
    lengths_I = np.sqrt(np.asarray(weighted_IF.multiply(weighted_IF).sum(axis=1)).ravel())
    scale_I = np.divide(1.0, lengths_I, out=np.zeros_like(lengths_I), where=lengths_I > 0)
    return (sparse.diags_array(scale_I) @ weighted_IF).tocsr()
