"""How viewers' state is kept in a SQLite file: the settings of an address ``sqlite:///PATH?SETTING=VALUE&...``.

A plain path is the same file with the usual settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.overrides import apply_overrides

SCHEME: Final = "sqlite"


@dataclass(frozen=True)
class FileConfig:
    """How viewers' state is kept in a file.

    Parameters
    ----------
    history
        Most events that a viewer's history has; older ones are dropped.
    past
        Events kept beyond that, so that a history of a while ago can be read as it was then.
    events_days
        Days after their arrival for which events are kept; 0 keeps them for ever.
    impressions_days
        Days for which what was shown is kept; 0 keeps it for ever.
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

    history: int = 2_000
    past: int = 500
    events_days: float = 0.0
    impressions_days: float = 7.0
    synchronous: Literal["full", "normal"] = "full"
    write_timeout_s: float = 5.0

    @property
    def most(self) -> int:
        """Most events that are kept of a viewer."""
        return self.history + self.past

    def __post_init__(self) -> None:
        if self.history < 1 or self.past < 0:
            raise ConfigError("history must be at least 1, past at least 0")
        if self.events_days < 0 or self.impressions_days < 0:
            raise ConfigError("events_days and impressions_days must be at least 0")
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
    settings = [f"{name}={value}" for name, value in parse_qsl(query, keep_blank_values=True)]
    try:
        return Path(unquote(path)), from_dict(FileConfig, apply_overrides({}, settings, FileConfig))
    except ConfigError as error:
        raise ConfigError(f"state '{place}': {error}") from error
