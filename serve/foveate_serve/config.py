"""Settings of serving; each is checked here, because Serve's own schemas ignore a key they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from foveate.core.errors import ConfigError
from foveate.slate.exploration.config import Exploration
from foveate_cluster.resources import check_custom
from foveate_serve.names import INGRESS, RANKER, RETRIEVER, SHADOW, shard_name

Topology: TypeAlias = Literal["split", "fused"]
Proxy: TypeAlias = Literal["haproxy", "python"]

HYDRATION_SHARE: Final = 0.3
"""Of the time that a request has; whose history has not been read by then counts as a new viewer."""
RETRIEVAL_SHARE: Final = 0.6
"""Of the same; what the retriever has not answered by then, everyone's favourites answer."""
RANKING_SHARE: Final = 0.9
"""Of the same; the rest is kept for the order of retrieval and for the way back."""


@dataclass(frozen=True)
class AutoscalingConfig:
    """How many copies answer, by what there is to do.

    Parameters
    ----------
    least, most
        Bounds of their number.
    ongoing
        How many requests each should be at work on, on the mean: Ray Serve adds and takes away copies to come near it.
    """

    least: int = 1
    most: int = 2
    ongoing: float = 8.0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ConfigError(f"least must be 1 or more and at most most, got {self.least} and {self.most}")
        if self.ongoing <= 0:
            raise ConfigError(f"ongoing must be above 0, got {self.ongoing}")


@dataclass(frozen=True)
class DeploymentConfig:
    """Size of one deployment.

    Parameters
    ----------
    replicas
        How many copies answer.
    autoscaling
        Lets Ray Serve choose their number; ``replicas`` then does not count.
    cpus, gpus
        CPUs and GPUs that Ray sets aside for each; a replica computes on as many threads as CPUs, at least one.
    resources
        Custom resources of each, by the names that the cluster's nodes give them: ``{state: 0.01}`` keeps replicas on
        the nodes that have ``state``. An amount below 1 may be a fraction.
    most_per_node
        How many copies one node may hold; 0 sets no bound. Ray spreads copies that start together, but one that starts
        in a lost one's place may join another, and that node's loss then takes both.
    max_ongoing_requests
        How many requests one replica works on at a time. More wait before it; at the ingress they are turned away.
    """

    replicas: int = 1
    autoscaling: AutoscalingConfig | None = None
    cpus: float = 0.25
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    most_per_node: int = 0
    max_ongoing_requests: int = 64

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.max_ongoing_requests < 1:
            raise ConfigError("replicas and max_ongoing_requests must be at least 1")
        if not 0 < self.cpus <= 1024:
            raise ConfigError(f"cpus must lie above 0 and be at most 1024, got {self.cpus}")
        if not 0 <= self.gpus <= 1024:
            raise ConfigError(f"gpus must lie between 0 and 1024, got {self.gpus}")
        if not 0 <= self.most_per_node <= 100:
            raise ConfigError(f"most_per_node must lie between 0 and 100, got {self.most_per_node}")
        check_custom(self.resources)

    @property
    def least(self) -> int:
        """How many copies there always are."""
        return self.autoscaling.least if self.autoscaling else self.replicas


@dataclass(frozen=True)
class ShadowConfig:
    """A second bundle that answers too, for nobody: what it would have said is compared with what was said.

    Parameters
    ----------
    bundle
        Its folder; empty for none.
    share
        Share of the requests that it answers, after their reply.
    ongoing
        How many it may be at work on for each ingress; what comes beyond that is passed over.
    cpus
        CPUs that Ray sets aside for it.
    """

    bundle: str = ""
    share: float = 0.05
    ongoing: int = 4
    cpus: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share must lie between 0 and 1, got {self.share}")
        if self.ongoing < 1:
            raise ConfigError(f"ongoing must be 1 or more, got {self.ongoing}")
        if not 0 < self.cpus <= 1024:
            raise ConfigError(f"cpus must lie above 0 and be at most 1024, got {self.cpus}")


@dataclass(frozen=True)
class ShardsConfig(DeploymentConfig):
    """The encoder's items in several deployments, each with a run of them, for more than one process should hold.

    The sizes are those of each shard. The catalogue, other sources and the ranker's features stay whole in the
    processes that need them, and a shadow holds its whole bundle.

    Parameters
    ----------
    count
        How many shards; 0 leaves all items with the retriever.
    """

    count: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count < 0:
            raise ConfigError(f"count must be 0 or more, got {self.count}")


@dataclass(frozen=True)
class AccessConfig:
    """Who may ask.

    Parameters
    ----------
    keys
        File of API keys, as ``foveate keys`` writes it; null asks for none. It is read again when it changes.
    origins
        Web pages that may ask from a browser, such as ``https://example.org``; ``*`` for all.
    """

    keys: Path | None = None
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.keys is not None:
            # Replicas run in another folder.
            object.__setattr__(self, "keys", self.keys.absolute())
        for origin in self.origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise ConfigError(f"the origin '{origin}' must read like https://example.org, or be '*' for all")


@dataclass(frozen=True)
class ServeConfig:
    """How a bundle is served.

    Parameters
    ----------
    host, port
        Where HTTP listens; port 0 takes a free one. The default is reachable from this machine alone.
    proxy
        What stands before the replicas on a cluster that is started here: ``haproxy``, with Serve's throughput mode, or
        Serve's own in ``python``, which takes several times as long. With HAProxy, the replicas and its two pages of
        figures listen on all interfaces; where ``host`` is this machine's own, replicas refuse other machines.
    topology
        ``split``: ingress, retriever and ranker each in replicas of their own; ``fused``: all of them in each of the
        ingress's replicas, so that nothing travels between processes. The slates are the same.
    largest_batch
        Most requests that a stage answers in one go. None waits for others: those are answered together that came while
        the stage was at work.
    deadline_ms
        Milliseconds that a request has. A stage that takes too much of them is done without; where nothing can be done
        without, the request is answered with an error.
    hydration_share
        Share of a request's time by which the viewer's history must be read; after that, the viewer counts as a new one
        and the slate says so. It is below 0.6, by which the retriever must have answered; the ranker has until 0.9.
    max_ongoing_events
        How many requests that bring events one replica of the ingress works on at a time. They do not count among
        ``ingress.max_ongoing_requests``, so that a store that cannot be written holds up no slate.
    events_deadline_ms
        Milliseconds that a request with events has. A file of viewers' state gives a write up before that.
    max_body_bytes
        Largest request body that is read.
    start_timeout_s
        Seconds to wait until every replica is ready.
    ingress, retriever, ranker
        Sizes of the deployments; the ranker also chooses the slate. ``fused`` has the ingress alone.
    exploration
        Which places of slates are drawn, by what odds, and how much that may take; by default none are.
    shards
        How the encoder's items are shared out, where they are too many for one process; with ``split`` alone.
    shadow
        A second bundle that is tried on the same requests.
    access
        Who may ask.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    proxy: Proxy = "haproxy"
    topology: Topology = "split"
    largest_batch: int = 32
    deadline_ms: int = 2000
    hydration_share: float = HYDRATION_SHARE
    max_ongoing_events: int = 64
    events_deadline_ms: int = 6000
    max_body_bytes: int = 1_000_000
    start_timeout_s: float = 120.0
    ingress: DeploymentConfig = field(default_factory=DeploymentConfig)
    retriever: DeploymentConfig = field(default_factory=DeploymentConfig)
    ranker: DeploymentConfig = field(default_factory=DeploymentConfig)
    exploration: Exploration = field(default_factory=Exploration)
    shards: ShardsConfig = field(default_factory=ShardsConfig)
    shadow: ShadowConfig = field(default_factory=ShadowConfig)
    access: AccessConfig = field(default_factory=AccessConfig)

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host must not be empty: 127.0.0.1 for this machine alone, 0.0.0.0 for all")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must lie between 0 and 65535, got {self.port}")
        if self.largest_batch < 1:
            raise ConfigError(f"largest_batch must be 1 or more, got {self.largest_batch}")
        if self.deadline_ms < 1 or self.max_body_bytes < 1 or self.start_timeout_s <= 0:
            raise ConfigError("deadline_ms, max_body_bytes and start_timeout_s must be above 0")
        if not 0 < self.hydration_share < RETRIEVAL_SHARE:
            raise ConfigError(
                f"hydration_share must lie above 0 and below {RETRIEVAL_SHARE}, got {self.hydration_share}"
            )
        if self.max_ongoing_events < 1 or self.events_deadline_ms < 1:
            raise ConfigError("max_ongoing_events and events_deadline_ms must be 1 or more")
        if self.shards.count and self.topology != "split":
            raise ConfigError("shards need topology=split, for fused holds everything in each replica")

    @property
    def deployments(self) -> Mapping[str, DeploymentConfig]:
        """The sizes of the deployments that the topology has, by name."""
        own = {INGRESS: self.ingress}
        if self.topology == "split":
            own |= {RETRIEVER: self.retriever, RANKER: self.ranker}
        own |= {shard_name(number): self.shards for number in range(self.shards.count)}
        if self.shadow.bundle:
            # It reads the same file of viewers as the ingress does, so it belongs to the same nodes.
            own |= {SHADOW: DeploymentConfig(cpus=self.shadow.cpus, resources=self.ingress.resources)}
        return own
