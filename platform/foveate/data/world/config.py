"""Settings of a simulated world."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from foveate.core.config import check_seed
from foveate.core.errors import ConfigError

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


@dataclass(frozen=True)
class SimulateConfig:
    """Size and habits of a simulated world; the same settings give the same bytes.

    Parameters
    ----------
    viewers, items, days
        Size of the world. Items include those that are not yet out when the log ends.
    seed
        Of every random number.
    start
        First day of the log, UTC.
    slots
        Places of a slate.
    sessions_per_week
        Mean over viewers; some come daily, many hardly ever.
    random_share
        Share of slots that are filled uniformly at random, with their propensity.
    drift
        How fast tastes move; 0 keeps every viewer as on the first day.
    sequels
        How much having watched an episode raises the interest in the next.
    new_share, upcoming_share
        Share of items published during the log, and after its end.
    long_view_share, long_view_seconds
        A watch is a long view when it covers this share of the video or lasts this long.

    Raises
    ------
    ConfigError
        A setting is impossible; the message names it.
    """

    viewers: int = 2000
    items: int = 2000
    days: int = 28
    seed: int = 0
    start: str = "2025-03-03"
    slots: int = 8
    sessions_per_week: float = 2.6
    random_share: float = 0.08
    drift: float = 1.0
    sequels: float = 2.5
    new_share: float = 0.25
    upcoming_share: float = 0.03
    long_view_share: float = 0.5
    long_view_seconds: float = 180.0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        least = {"viewers": 1, "items": 20, "days": 1, "slots": 1, "drift": 0, "sequels": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                raise ConfigError(f"{name} must be at least {low}, got {getattr(self, name)}")
        for name in ("sessions_per_week", "long_view_seconds"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("random_share", "new_share", "upcoming_share", "long_view_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.new_share + self.upcoming_share > 0.9:  # a world needs something to show on its first day
            total = self.new_share + self.upcoming_share
            raise ConfigError(f"new_share and upcoming_share together must stay at or below 0.9, got {total:g}")
        if self.slots * 2 > self.items:
            raise ConfigError(f"slots must be at most half of items ({self.items}), got {self.slots}")
        try:
            date.fromisoformat(self.start)
        except ValueError as error:
            raise ConfigError(f"start must be a date such as 2025-03-03, got '{self.start}'") from error

    @property
    def first(self) -> int:
        """First moment of the log, UTC microseconds."""
        return int(datetime.fromisoformat(self.start).replace(tzinfo=UTC).timestamp()) * SECOND

    @property
    def end(self) -> int:
        """First moment after the log, UTC microseconds."""
        return self.first + self.days * DAY
