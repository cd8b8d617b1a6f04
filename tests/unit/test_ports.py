"""Ports of a server on this machine: no two servers share the ports of their replicas."""

from __future__ import annotations

import os
import socket

import pytest

from foveate.core.errors import ConfigError
from foveate_serve.operations.cluster import own_range, throughput

PORTS = "RAY_SERVE_DIRECT_INGRESS_{}_{}_PORT"


def test_a_range_that_another_has_or_listens_in_is_not_given() -> None:
    with own_range(50, [21_000, 22_000]) as first, own_range(50, [21_000, 22_000]) as second:
        assert (first, second) == (21_001, 22_001)
        with pytest.raises(ConfigError, match="no range of ports"), own_range(50, [21_000, 22_000]):
            pass
    with socket.create_server(("127.0.0.1", 21_040)), own_range(50, [21_000, 22_000]) as first:
        assert first == 22_001


def test_a_server_keeps_the_ports_of_its_replicas_to_itself() -> None:
    with throughput():
        low, high, grpc, end = (
            int(os.environ[PORTS.format(bound, kind)]) for kind in ("HTTP", "GRPC") for bound in ("MIN", "MAX")
        )
        assert low < high < grpc < end
        with pytest.raises(ConfigError), own_range(end - low + 1, [low - 1]):
            pass
        first = fallbacks()
    with own_range(end - low + 1, [low - 1]) as again:
        assert again == low
    with throughput():
        assert not first & fallbacks()


def fallbacks() -> set[str]:
    return {os.environ[f"RAY_SERVE_FALLBACK_PROXY_{kind}_PORT"] for kind in ("HTTP", "GRPC")}
