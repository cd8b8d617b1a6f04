"""Checks before a server is started."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from foveate.core.errors import ConfigError
from foveate_serve.config import ServeConfig
from foveate_serve.http.admission import is_loopback
from foveate_serve.http.keys import Keys


def check_access(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Read the keys, and warn of a server that everyone in the network may ask.

    Raises
    ------
    ConfigError
        The file of keys cannot be read.
    """
    if config.access.keys is not None:
        Keys.read(config.access.keys)
    elif not is_loopback(config.host):
        say(f"warning: {config.host} is open to the network and no key is asked for; see 'foveate keys' and --keys")


def check_host(config: ServeConfig) -> None:
    """Refuse a host at which the server would never become ready.

    Raises
    ------
    ConfigError
        It is one of the machine's addresses, and HAProxy asks the replicas of its own machine at 127.0.0.1.
    """
    if config.proxy == "haproxy" and is_loopback(config.host) and ":" in config.host:
        remedy = "listen there, or set proxy=python"
        raise ConfigError(f"--host {config.host}: behind HAProxy replicas are asked at 127.0.0.1 alone: {remedy}")
    if config.proxy == "haproxy" and not is_loopback(config.host) and not _is_every(config.host):
        remedy = "listen on 0.0.0.0 behind a firewall, or set proxy=python"
        raise ConfigError(f"--host {config.host}: behind HAProxy replicas are asked at 127.0.0.1 too: {remedy}")


def _is_every(host: str) -> bool:
    """Whether a host means all addresses of this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
