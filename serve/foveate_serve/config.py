"""Settings of serving; each is checked here, because Serve's own schemas ignore a key they do not know."""

from __future__ import annotations

from dataclasses import dataclass, field

from foveate.errors import ConfigError


@dataclass(frozen=True)
class DeploymentConfig:
    """Size of one deployment.

    Parameters
    ----------
    replicas
        How many copies answer.
    cpus
        CPUs that Ray sets aside for each; a replica computes on as many threads, at least one.
    max_ongoing_requests
        How many requests one replica works on at a time; more wait before it.
    """

    replicas: int = 1
    cpus: float = 0.25
    max_ongoing_requests: int = 64

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.max_ongoing_requests < 1:
            raise ConfigError("replicas and max_ongoing_requests must be at least 1")
        if not 0 < self.cpus <= 1024:
            raise ConfigError(f"cpus must lie above 0 and be at most 1024, got {self.cpus}")


@dataclass(frozen=True)
class ServeConfig:
    """How a bundle is served.

    Parameters
    ----------
    host, port
        Where HTTP listens; port 0 takes a free one. The default is reachable from this machine alone.
    deadline_ms
        Milliseconds after which a request is answered with an error instead of a slate.
    max_body_bytes
        Largest request body that is read.
    start_timeout_s
        Seconds to wait until every replica is ready.
    ingress, retriever, ranker
        Sizes of the three deployments; the ranker also chooses the slate.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    deadline_ms: int = 2000
    max_body_bytes: int = 1_000_000
    start_timeout_s: float = 120.0
    ingress: DeploymentConfig = field(default_factory=DeploymentConfig)
    retriever: DeploymentConfig = field(default_factory=DeploymentConfig)
    ranker: DeploymentConfig = field(default_factory=DeploymentConfig)

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host must not be empty: 127.0.0.1 for this machine alone, 0.0.0.0 for all")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must lie between 0 and 65535, got {self.port}")
        if self.deadline_ms < 1 or self.max_body_bytes < 1 or self.start_timeout_s <= 0:
            raise ConfigError("deadline_ms, max_body_bytes and start_timeout_s must be above 0")
