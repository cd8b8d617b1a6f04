"""What each kind of replica reads of a bundle; what was read has answered a made-up request before it is used."""

from __future__ import annotations

from pathlib import Path

from foveate.bundle import Bundle, Part
from foveate_serve.bundles.rehearsal import rehearse_query, rehearse_ranking, rehearse_retrieval


def load_catalogue(path: Path) -> Bundle:
    """Read what an ingress needs that asks other replicas."""
    bundle = Bundle.load(path, parts=set())
    rehearse_query(bundle)
    return bundle


def load_sources(path: Path) -> Bundle:
    """Read what a retriever needs."""
    bundle = Bundle.load(path, parts={Part.SOURCES})
    rehearse_retrieval(bundle)
    return bundle


def load_ranker(path: Path) -> Bundle:
    """Read what a ranker needs."""
    bundle = Bundle.load(path, parts={Part.RANKER})
    rehearse_ranking(bundle)
    return bundle


def load_all(path: Path) -> Bundle:
    """Read what an ingress needs that does everything itself."""
    bundle = Bundle.load(path)
    rehearse_retrieval(bundle)
    rehearse_ranking(bundle)
    return bundle
