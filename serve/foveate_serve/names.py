"""Names of the application's parts, in Serve's config, in its handles and in a slate's ``degraded``."""

from __future__ import annotations

from typing import Final

ATTEMPT: Final = "x-foveate-attempt"
"""A header by which HAProxy tells replicas which of its requests are one of the client's."""
APPLICATION: Final = "foveate"
INGRESS: Final = "ingress"
HYDRATOR: Final = "hydrator"
RETRIEVER: Final = "retriever"
RANKER: Final = "ranker"
SHADOW: Final = "shadow"


def shard_name(number: int) -> str:
    """Return what the shard of a number, from 0, is called."""
    return f"shard-{number}"


COVERAGE: Final = "coverage"
"""Begins what a slate says in ``degraded`` of the share of the catalogue that shards searched: ``coverage_0.67``."""

BUNDLE_KEY: Final = "bundle"
"""The one key of each deployment's ``user_config``: the bundle's folder."""
