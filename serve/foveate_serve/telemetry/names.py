"""Every name of monitoring, in one place: code, dashboards and alerts read it here.

Ray exports a metric as ``ray_<name>``, a counter with ``_total`` at its end, a histogram with ``_bucket``, ``_sum`` and
``_count``; Serve adds the tags ``application``, ``deployment`` and ``replica``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

EXPORTED_PREFIX: Final = "ray_"
"""What Ray puts before each name."""

HYDRATE: Final = "hydrate"
RETRIEVE: Final = "retrieve"
RANK: Final = "rank"
SELECT: Final = "select"
STAGES: Final = (HYDRATE, RETRIEVE, RANK, SELECT)
"""The values of the tag ``stage``, and the names of the spans within a request."""

ENCODE: Final = "encode"
SEARCH: Final = "search"
"""Two more of both, where items lie in shards: the first before ``retrieve`` at the retriever, the second at shards."""

REQUEST: Final = "recommend"
"""The span around a whole request."""

LOG_REQUEST_ID: Final = "foveate_request_id"
LOG_BUNDLE_ID: Final = "bundle_id"
"""Keys of a log line in JSON. Serve's own ``request_id`` beside them is the one in the header ``X-Request-ID``."""

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_COUNTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_CANDIDATES: Final = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
_SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999)
_SCORES: Final = (1e-6, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class Metric:
    """One metric: what it is called, what it counts, its tags, and for a histogram the upper ends of its buckets."""

    name: str
    kind: Kind
    description: str
    tags: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def exported(self) -> str:
        """The name that Prometheus sees, without a histogram's ``_bucket``, ``_sum`` and ``_count``."""
        ending = "_total" if self.kind == "counter" else ""
        return f"{EXPORTED_PREFIX}{self.name}{ending}"


REQUEST_SECONDS: Final = Metric(
    "foveate_request_seconds", "histogram", "Seconds from a request's context to its slate.", ("surface",), _SECONDS
)
STAGE_SECONDS: Final = Metric("foveate_stage_seconds", "histogram", "Seconds in a stage.", ("stage",), _SECONDS)
BATCH_SIZE: Final = Metric(
    "foveate_batch_size", "histogram", "Requests that a stage took at once.", ("stage",), _COUNTS
)
CANDIDATES: Final = Metric(
    "foveate_candidates", "histogram", "Candidates that the sources offered a request together.", (), _CANDIDATES
)
DEGRADED: Final = Metric("foveate_degraded", "counter", "Slates that a lesser answer stood in for.", ("reason",))
SHARD_MISSED: Final = Metric(
    "foveate_shard_missed", "counter", "Requests that went without a shard, and why.", ("shard", "reason")
)
BUNDLE_TAKEN: Final = Metric(
    "foveate_bundle_taken_timestamp_seconds", "gauge", "Unix time at which the replica took its current bundle."
)
BUNDLE_LEARNED: Final = Metric(
    "foveate_bundle_learned_until_timestamp_seconds",
    "gauge",
    "Unix time up to which the current bundle has learned from everything; 0 where its clock is order only.",
)
SWAPS: Final = Metric("foveate_bundle_swaps", "counter", "Bundles that a replica took.")
REFUSALS: Final = Metric("foveate_bundle_refusals", "counter", "Bundles that a replica refused.")
SHADOWED: Final = Metric("foveate_shadow_requests", "counter", "Requests for the shadow, by outcome.", ("outcome",))
SHADOW_OVERLAP: Final = Metric(
    "foveate_shadow_overlap", "histogram", "Share of a slate's items that the shadow's slate has too.", (), _SHARES
)
SHADOW_SCORE: Final = Metric(
    "foveate_shadow_score_difference", "histogram", "Mean distance of the scores of items in both slates.", (), _SCORES
)
SHADOW_SECONDS: Final = Metric("foveate_shadow_seconds", "histogram", "Seconds that the shadow took.", (), _SECONDS)

METRICS: Final = (
    REQUEST_SECONDS,
    STAGE_SECONDS,
    BATCH_SIZE,
    CANDIDATES,
    DEGRADED,
    SHARD_MISSED,
    BUNDLE_TAKEN,
    BUNDLE_LEARNED,
    SWAPS,
    REFUSALS,
    SHADOWED,
    SHADOW_OVERLAP,
    SHADOW_SCORE,
    SHADOW_SECONDS,
)
"""All of them, for a dashboard to be made from."""

BUNDLE_AGE_QUERY: Final = f"time() - {BUNDLE_LEARNED.exported}"
"""PromQL: how many seconds the knowledge of each replica's bundle is old."""
