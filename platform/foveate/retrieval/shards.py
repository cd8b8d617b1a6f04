"""An encoder's items in shards: each holds a run of codes, and the best of all are merged from the best of each.

A shard answers for its own items what the source answers for all of them, whatever the encoder's match and index: what
is merged is what one process finds that holds everything, but for the rounding of float32. Only where an index serves a
match that is no dot product may it be better: each shard then has as many near items matched as that process has.

Shapes: ``B`` viewers, ``R`` items of one shard, ``D`` width, ``K`` items that are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveate.attention.base import match
from foveate.core.messages import Query
from foveate.encoder.embedding.mapped import MappedEncoder, of_run
from foveate.retrieval.attention import Attention, AttentionSource, Viewers, parted
from foveate.retrieval.base import Arrays, Asked, CandidateSource, top_k
from foveate.retrieval.index.finder import Finder

Codes = NDArray[np.int32]

_VIEWERS: Final = 8
"""Viewers whose scores of every item of a shard are held at once."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a shard found for one viewer: ``[K]`` int32 codes, best first and ties by code, and their float32 scores."""

    codes: Codes
    scores: NDArray[np.float32]


def runs(n_items: int, count: int) -> list[range]:
    """Return the item codes of each of ``count`` shards: runs as long as one another, give or take one item."""
    return [range(*edges) for edges in pairwise(n_items * number // count for number in range(count + 1))]


def within(codes: Codes, run: range) -> Codes:
    """Return those of some codes that lie in a run."""
    return codes[(codes >= run.start) & (codes < run.stop)]


def merged(found: Sequence[Found], k: int) -> Found:
    """Return the ``k`` best of what several shards found, best first and ties by code."""
    codes, scores = (np.concatenate([getattr(one, name) for one in found] or [[]]) for name in ("codes", "scores"))
    order = np.lexsort((codes, -scores))[:k]
    return Found(codes[order].astype(np.int32), scores[order].astype(np.float32))


class Shard:
    """A run of an encoder's items, searched by itself.

    Parameters
    ----------
    codes
        Of its items, among all of the catalogue.
    encoder
        Knows these items alone; their codes count from 0 there.
    finder
        Looks them up where there is an index.
    """

    def __init__(self, codes: range, encoder: MappedEncoder, finder: Finder | None = None) -> None:
        self.codes = codes
        self._encoder, self._finder = encoder, finder
        self._dots_RD = encoder.own_dots() if finder is None and encoder.indexable else None

    @property
    def width(self) -> int:
        """``D``."""
        return self._encoder.config.width

    @classmethod
    def restore(cls, config: Attention, arrays: Arrays, n_items: int, number: int, count: int) -> Shard:
        """Make one of ``count`` shards, counted from 0, of what a fitted source's ``arrays`` hold."""
        codes = runs(n_items, count)[number]
        weights, laid_out, _ = parted(arrays)
        encoder = MappedEncoder.restore(config.encoder, of_run(weights, codes))
        # Whether items are looked up goes by the number of all of them, as it did when the index was made.
        chosen = config.index.chosen(n_items) if len(codes) else None
        finder = None if chosen is None else Finder.restore(chosen, encoder, chosen.of_run(laid_out, codes))
        return cls(codes, encoder, finder)

    @torch.inference_mode()
    def best(self, user_BD: NDArray[np.float32], excludes: Sequence[Codes], counts: Sequence[int]) -> list[Found]:
        """Return each viewer's best items among those of this shard.

        Parameters
        ----------
        user_BD
            What the encoder makes of their histories.
        excludes
            For each the codes that are left out before the top is taken; codes of other shards do not matter.
        counts
            How many items are wanted for each; a shard that has fewer gives what it has.
        """
        if not len(self.codes):
            return [merged([], 0) for _ in counts]
        shut = [within(exclude, self.codes) - np.int32(self.codes.start) for exclude in excludes]
        found: list[Found] = []
        for user_bD in torch.split(torch.from_numpy(user_BD), _VIEWERS):
            part = slice(len(found), len(found) + len(user_bD))
            found += self._best(user_bD, shut[part], counts[part])
        return found

    def _best(self, user_BD: Tensor, shut: Sequence[Codes], counts: Sequence[int]) -> list[Found]:
        if self._finder is not None:
            tops = [self._finder.find(*one) for one in zip(user_BD, counts, shut, strict=True)]
            scores = [self._encoder.match(*one) for one in zip(user_BD, tops, strict=True)]
        else:
            scores_BR = self._scores(user_BD)
            tops = [top_k(*one) for one in zip(scores_BR, shut, counts, strict=True)]
            scores = [own_R[top] for own_R, top in zip(scores_BR, tops, strict=True)]
        return [
            merged([Found(top + np.int32(self.codes.start), own)], len(top))
            for top, own in zip(tops, scores, strict=True)
        ]

    def _scores(self, user_BD: Tensor) -> NDArray[np.float32]:
        if self._dots_RD is None:
            return np.stack([self._encoder.match(user_D) for user_D in user_BD])
        scores_BR: NDArray[np.float32] = match(
            torch.from_numpy(self._encoder.user_dots(user_BD)), self._dots_RD
        ).numpy()
        return scores_BR


class GatheredSource(CandidateSource):
    """The encoder's source to one batch of viewers whose best items shards have found.

    Parameters
    ----------
    source
        Scores what else is a candidate.
    viewers
        The batch.
    tops
        The codes that were found for each, best first.
    """

    def __init__(self, source: AttentionSource, viewers: Viewers, tops: Sequence[Codes]) -> None:
        self.name, self.source_feature_names = source.name, source.source_feature_names
        self._source, self._viewers, self._tops = source, viewers, tops

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``, worked out here."""
        return self._source.scores(queries)

    def ask(self, queries: Sequence[Query], k: int) -> Asked:
        """Return what was found: ``queries`` are the batch's, and ``k`` what the shards were asked for, at most."""
        if len(queries) != len(self._tops):
            raise ValueError(f"given the best of {len(self._tops)} viewers, asked by {len(queries)}")
        return self._source.answer(self._viewers, [top[:k] for top in self._tops])

    def source_features(self, queries: Sequence[Query], items: Sequence[Codes]) -> list[NDArray[np.float32]]:
        """Say what the source says."""
        return self._source.source_features(queries, items)

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Return the source's."""
        return self._source.arrays()
