"""The parts of a bundle that each kind of replica loads; each answers a made-up request before it is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foveate.bundle import Bundle, BundleShard, Part
from foveate.core.errors import BundleError
from foveate.core.messages import Candidates, Filters, Query, ViewerHistory
from foveate.recommend.model import Model
from foveate.retrieval.attention import Attention, AttentionSource

_CANDIDATES = 100
_NOW = 0


def rehearse_query(bundle: Bundle) -> Query:
    """Build the query of a viewer who liked the first item of the catalogue."""
    model = bundle.model
    history = ViewerHistory(
        user_id="rehearsal",
        item_ids=tuple(model.catalog.items.ids[:1]),
        kinds=model.positive_kinds[:1],
        values=np.ones(1, dtype=np.float32),
        times=np.full(1, _NOW, dtype=np.int64),
    )
    # As if a page came before: the marks by which pages know items are worked out once.
    return model.query(history, Filters(shown_before=(0,)), _NOW)


def rehearse_retrieval(bundle: Bundle, *, at_least: bool = False) -> None:
    """Ask every source, and compare what they say with what they said when the bundle was made.

    Parameters
    ----------
    at_least
        As :meth:`foveate.bundle.golden.Golden.check_retrieval` has it.

    Raises
    ------
    BundleError
        They answer otherwise; a bundle of an older Foveate does not tell.
    """
    bundle.model.candidates([rehearse_query(bundle)])
    if bundle.golden:
        bundle.golden.check_retrieval(bundle.model, at_least=at_least)


def rehearse_search(held: BundleShard) -> None:
    """Search a shard for a made-up viewer."""
    width = held.shard.width
    held.shard.best(np.ones((1, width), dtype=np.float32), [np.empty(0, dtype=np.int32)], [_CANDIDATES])


def rehearse_ranking(bundle: Bundle) -> None:
    """Score made-up candidates and choose among them, and compare as :func:`rehearse_retrieval` does.

    Raises
    ------
    BundleError
        Ranker or policy answer otherwise.
    ConfigError
        The ranker was trained on other columns than the features build.
    """
    model = bundle.model
    [ranked] = model.rank([rehearse_query(bundle)], [_candidates(model)])
    model.select(ranked, model.recipe.slate_size, seed=0)
    if bundle.golden:
        bundle.golden.check_ranking(model)


def _candidates(model: Model) -> Candidates:
    sources, source_features = model.features.sources, model.features.source_features
    items = np.arange(min(len(model.catalog), _CANDIDATES), dtype=np.int32)
    shape = (len(items), len(sources))
    scores, said = np.zeros(shape, dtype=np.float32), np.zeros((len(items), len(source_features)), dtype=np.float32)
    return Candidates(items, sources, scores, np.ones(shape, dtype=bool), source_features, said)


def load_catalogue(path: Path, *, mapped: bool = False) -> Bundle:
    """Read what an ingress needs that asks other replicas; ``mapped`` as :meth:`~foveate.bundle.Bundle.load` has it."""
    bundle = Bundle.load(path, parts=set(), mapped=mapped)
    rehearse_query(bundle)
    return bundle


def load_sources(path: Path) -> Bundle:
    """Read what a retriever needs."""
    bundle = Bundle.load(path, parts={Part.SOURCES})
    rehearse_retrieval(bundle)
    return bundle


def load_mapped_sources(path: Path) -> Bundle:
    """Read what a retriever needs whose items lie in shards.

    Raises
    ------
    BundleError
        The bundle cannot be used, or has no source that can be split.
    """
    bundle = Bundle.load(path, parts={Part.SOURCES}, mapped=True)
    if not any(isinstance(source, AttentionSource) for source in bundle.model.sources):
        raise BundleError(f"bundle '{path}' has no source '{Attention.name}' to split: serve it without shards")
    rehearse_retrieval(bundle, at_least=True)
    return bundle


def load_shard(path: Path, number: int, count: int) -> BundleShard:
    """Read one shard of ``count``, and have it search once."""
    held = BundleShard.load(path, number, count)
    rehearse_search(held)
    return held


def load_ranker(path: Path, *, mapped: bool = False) -> Bundle:
    """Read what a ranker needs; ``mapped`` as :meth:`~foveate.bundle.Bundle.load` has it."""
    bundle = Bundle.load(path, parts={Part.RANKER}, mapped=mapped)
    rehearse_ranking(bundle)
    return bundle


def load_all(path: Path) -> Bundle:
    """Read what an ingress needs that does everything itself."""
    bundle = Bundle.load(path)
    rehearse_retrieval(bundle)
    rehearse_ranking(bundle)
    return bundle
