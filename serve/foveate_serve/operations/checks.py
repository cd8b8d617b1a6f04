"""What is looked at before anything is started."""

from __future__ import annotations

from collections.abc import Callable

from foveate_serve.config import ServeConfig
from foveate_serve.web.admission import is_loopback
from foveate_serve.web.keys import Keys


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
