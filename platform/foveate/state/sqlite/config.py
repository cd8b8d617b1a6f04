"""Settings of viewers' state in a SQLite file: those of an address ``sqlite:///PATH?SETTING=VALUE&...``.

A plain path is the same file with the usual settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from foveate.core.errors import ConfigError
from foveate.state.config import StoreConfig, read_settings

SCHEME: Final = "sqlite"


@dataclass(frozen=True)
class FileConfig(StoreConfig):
    """How viewers' state is kept in a file.

    Parameters
    ----------
    history, past, impressions_days, events_days
        As :class:`~foveate.state.config.StoreConfig` has them; ``impressions_days=0`` keeps what was shown for ever.
    synchronous
        ``full``: events are on the disk before they are acknowledged, and survive a power cut. ``normal``: they survive
        the process, and a power cut may take the newest.
    write_timeout_s
        Seconds that events may wait for the file before they are refused.

    Raises
    ------
    ConfigError
        A setting is impossible.
    """

    synchronous: Literal["full", "normal"] = "full"
    write_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.impressions_days < 0:
            raise ConfigError("impressions_days must be at least 0")
        if self.write_timeout_s <= 0:
            raise ConfigError("write_timeout_s must be above 0")


def read_place(place: str) -> tuple[Path, FileConfig]:
    """Return the file that a place names, and its settings.

    Raises
    ------
    ConfigError
        The address cannot be read.
    """
    start = f"{SCHEME}://"
    if not place.startswith(start):
        return Path(place), FileConfig()
    path, _, query = place.removeprefix(start).partition("?")
    if not path.startswith("/"):
        remedy = f"write {start}/ROOT/FOLDER/FILE?SETTING=VALUE, or the path alone"
        raise ConfigError(f"state '{place}': the path in an address begins with '/': {remedy}")
    return Path(unquote(path)), read_settings(query, FileConfig, place)
