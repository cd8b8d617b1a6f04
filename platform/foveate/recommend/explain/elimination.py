"""The step of a request at which an item falls out: before retrieval, in it, or after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from foveate.core.messages import Candidates, Query, Ranked, RequestContext
from foveate.data.catalog import Catalog
from foveate.data.vocabulary import UNKNOWN
from foveate.recommend.explain.answers import WhyNot
from foveate.recommend.explain.ranking import Reasons, ranks
from foveate.recommend.explain.sentences import Names, displaced, not_retrieved, ranked_below, shown, shut_out
from foveate.recommend.model import Chosen, Model
from foveate.retrieval.base import CandidateSource

SEEN = "seen"
OFF_SURFACE = "off_surface"


def before_retrieval(catalog: Catalog, query: Query, context: RequestContext, item_id: str) -> WhyNot | None:
    """Say that an item is not known or was shut out, None where sources are asked about it."""
    code = catalog.items.code(item_id)
    if code == UNKNOWN:
        return WhyNot(item_id, None, "unknown", f"The catalogue of this bundle holds no item '{item_id}'.")
    if code not in query.exclude:
        return None
    names = Names(catalog)
    met = (SEEN,) if code in query.items else ()
    shut = tuple(name for name, shut_I in catalog.shut(context.filters, context.now) if shut_I[code])
    by = (*met, *shut) or (OFF_SURFACE,)
    return WhyNot(item_id, names.title(code), "filtered", shut_out(names.said(code), by), by=by)


def source_ranks(sources: Sequence[CandidateSource], query: Query, code: int) -> dict[str, int]:
    """Return an item's place from 1 among all that are open to the viewer, by each source, ties by code."""
    open_I: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    found = {}
    for source in sources:
        [scores_I] = source.scores([query])
        if open_I is None:
            open_I = np.ones(len(scores_I), dtype=bool)
            open_I[query.exclude] = False
        ties = scores_I[:code][open_I[:code]] == scores_I[code]
        found[source.name] = 1 + int((scores_I[open_I] > scores_I[code]).sum()) + int(ties.sum())
    return found


def in_retrieval(
    catalog: Catalog,
    counts: Mapping[str, int],
    candidates: Candidates,
    item_id: str,
    ranks_by_source: Mapping[str, int],
) -> WhyNot | None:
    """Say that no source offered an item, None where one did; ``counts`` is how many each source offers."""
    code, names = catalog.items.code(item_id), Names(catalog)
    if code in candidates.items:
        return None
    sentence = not_retrieved(names.said(code), ranks_by_source, counts)
    return WhyNot(item_id, names.title(code), "not_retrieved", sentence, source_ranks=ranks_by_source)


def in_ranking(model: Model, ranked: Ranked, chosen: Chosen, item_id: str, *, size: int, seed: int) -> WhyNot:
    """Say what ranker, policy and rules made of a candidate.

    Parameters
    ----------
    size, seed
        With which the slate was chosen.
    """
    code, names = model.catalog.items.code(item_id), Names(model.catalog)
    row = int(np.searchsorted(ranked.candidates.items, code))
    rank, score = int(ranks(ranked)[row]), float(ranked.scores[row])
    said, count = names.said(code), len(ranked.scores)
    fact = WhyNot(item_id, names.title(code), "ranked", "", candidates=count, rank=rank, score=score)
    if row in chosen.positions:
        place = int(np.flatnonzero(chosen.positions == row)[0])
        return replace(fact, where="shown", sentence=shown(said, place), position=place)
    if row not in chosen.selection.displaced:
        return replace(fact, sentence=ranked_below(said, rank, count, size))
    reasons = Reasons(model, ranked, size, seed)
    by, other = reasons.of(row, shown=False), reasons.instead(row, chosen.positions)
    taker = None if other is None else int(ranked.candidates.items[other])
    there = None if taker is None else names.said(taker)
    return replace(
        fact,
        where="displaced",
        sentence=displaced(said, rank, by, there),
        by=by,
        instead=None if taker is None else names.item_id(taker),
    )
