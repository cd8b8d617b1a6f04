"""The parts of a bundle that each kind of replica loads; each answers a made-up request before it is used."""

from __future__ import annotations

from pathlib import Path

from foveate.bundle import Bundle, BundleShard, Part
from foveate.core.errors import BundleError
from foveate.retrieval.attention import Attention, AttentionSource
from foveate_serve.bundles.rehearsal import rehearse_query, rehearse_ranking, rehearse_retrieval, rehearse_search


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
