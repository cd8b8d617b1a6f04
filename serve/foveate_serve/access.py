"""Settings of who may ask over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foveate.core.errors import ConfigError


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
