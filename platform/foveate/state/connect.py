"""Opening a store of viewers' state by what it is called: a file, or a server's address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import quote

from foveate.core.errors import ConfigError
from foveate.core.extras import needs
from foveate.state.base import ImpressionStore, ViewerStore
from foveate.state.items import ItemStore
from foveate.state.sqlite.config import SCHEME, read_place

StatePlace: TypeAlias = str | Path
"""A path of a SQLite file, or an address: ``sqlite:///PATH?SETTING=VALUE``, ``redis://host:6379/0``."""

_WITHOUT_LIMIT: Final = 1 << 40
"""Events: more than any viewer has."""


@dataclass(frozen=True)
class _Kind:
    """How places of one scheme are opened, given the place, whether an absent store may be made, and whether later."""

    viewers: Callable[[str, bool, bool], ViewerStore]
    impressions: Callable[[str, bool, bool], ImpressionStore]
    items: Callable[[str, bool, bool], ItemStore]
    holds_secret: Callable[[str], bool]
    """Whether a place holds what nobody should be shown."""
    unhurried: Callable[[str], str]
    """How a place is called by whom no viewer waits for."""
    shown: Callable[[str], str]
    """A place without what nobody should be shown."""


def open_viewers(place: StatePlace, *, create: bool = True, lazy: bool = False) -> ViewerStore:
    """Open what viewers have done.

    Parameters
    ----------
    place
        A path or an address.
    create
        Whether an absent file may be made.
    lazy
        Whether a file that cannot be used now may be opened by a later call, as a server always is.

    Raises
    ------
    ConfigError
        Nobody knows addresses of that kind, or the address cannot be read.
    StateError
        The file cannot be used. A server is asked only when something is read.
    """
    return _kind(place).viewers(str(place), create, lazy)


def open_impressions(place: StatePlace, *, create: bool = True, lazy: bool = False) -> ImpressionStore:
    """Open what viewers were shown; parameters and errors as :func:`open_viewers` has them."""
    return _kind(place).impressions(str(place), create, lazy)


def open_items(place: StatePlace, *, create: bool = True, lazy: bool = False) -> ItemStore:
    """Open what has changed in the catalogue; parameters and errors as :func:`open_viewers` has them."""
    return _kind(place).items(str(place), create, lazy)


def unhurried(place: StatePlace) -> StatePlace:
    """Return a place whose answers may take longer than a request could wait, as those to many events at once do.

    Raises
    ------
    ConfigError
        Nobody knows addresses of that kind.
    """
    return _kind(place).unhurried(str(place))


def file_of(place: StatePlace) -> Path | None:
    """Return the file that a place is, None for a server.

    Raises
    ------
    ConfigError
        The address cannot be read.
    """
    return read_place(str(place))[0] if _scheme(place) in ("", SCHEME) else None


def without_limits(path: Path) -> str:
    """Return the place of a file that keeps all that it is given."""
    return f"{SCHEME}://{quote(str(path.absolute()))}?history={_WITHOUT_LIMIT}&events_days=0&impressions_days=0"


def without_password(place: StatePlace) -> str:
    """Return a place as it may be printed."""
    return _kind(place).shown(str(place))


def check_state(place: StatePlace) -> None:
    """See that a place can serve: it can be opened, it answers, and its address may be shown to operators.

    An absent file is made, and what an older Foveate wrote is brought up to date: those who serve do neither.

    Raises
    ------
    StateError
        It cannot be used.
    ConfigError
        It is an address that cannot be read, or that holds a password.
    """
    kind = _kind(place)
    if kind.holds_secret(str(place)):
        remedy = "write it to a file on every node, and add ?password_file=FILE to the address"
        raise ConfigError(f"the address of viewers' state holds a password, which Ray's dashboard would show: {remedy}")
    with kind.viewers(str(place), True, False) as viewers:
        viewers.history("")
    with kind.viewers(kind.unhurried(str(place)), True, False) as viewers:
        viewers.prepare()


def _kind(place: StatePlace) -> _Kind:
    scheme = _scheme(place)
    if scheme not in _KINDS:
        known = ", ".join(f"{name}://" for name in _KINDS if name)
        raise ConfigError(f"viewers' state cannot be kept at a place of kind '{scheme}://'; known: a file, {known}")
    return _KINDS[scheme]


def _scheme(place: StatePlace) -> str:
    start, mark, _ = str(place).partition("://")
    return start if mark else ""


def _file_viewers(place: str, create: bool, lazy: bool) -> ViewerStore:
    from foveate.state.sqlite.store import SqliteState  # noqa: PLC0415 - a kind that is not asked for is not loaded

    path, config = read_place(place)
    return SqliteState(path, create=create, lazy=lazy, config=config)


def _file_impressions(place: str, create: bool, lazy: bool) -> ImpressionStore:
    from foveate.state.sqlite.impressions import SqliteImpressions  # noqa: PLC0415 - as above

    path, config = read_place(place)
    return SqliteImpressions(path, create=create, lazy=lazy, config=config)


def _file_items(place: str, create: bool, lazy: bool) -> ItemStore:
    from foveate.state.sqlite.items import SqliteItems  # noqa: PLC0415 - as above

    path, config = read_place(place)
    return SqliteItems(path, create=create, lazy=lazy, config=config)


def _redis_viewers(place: str, create: bool, lazy: bool) -> ViewerStore:
    with needs("redis", extra="redis"):
        from foveate.state.redis.store import RedisState  # noqa: PLC0415 - as above

    del create, lazy
    return RedisState(place)


def _redis_impressions(place: str, create: bool, lazy: bool) -> ImpressionStore:
    with needs("redis", extra="redis"):
        from foveate.state.redis.impressions import RedisImpressions  # noqa: PLC0415 - as above

    del create, lazy
    return RedisImpressions(place)


def _redis_items(place: str, create: bool, lazy: bool) -> ItemStore:
    with needs("redis", extra="redis"):
        from foveate.state.redis.items import RedisItems  # noqa: PLC0415 - as above

    del create, lazy
    return RedisItems(place)


def _redis_secret(place: str) -> bool:
    with needs("redis", extra="redis"):
        from foveate.state.redis.connection import has_password  # noqa: PLC0415 - as above

    return has_password(place)


def _redis_unhurried(place: str) -> str:
    with needs("redis", extra="redis"):
        from foveate.state.redis.connection import unhurried  # noqa: PLC0415 - as above

    return unhurried(place)


def _redis_shown(place: str) -> str:
    with needs("redis", extra="redis"):
        from foveate.state.redis.connection import shown  # noqa: PLC0415 - as above

    return shown(place)


_FILE: Final = _Kind(_file_viewers, _file_impressions, _file_items, lambda _: False, str, str)
_REDIS: Final = _Kind(_redis_viewers, _redis_impressions, _redis_items, _redis_secret, _redis_unhurried, _redis_shown)
_KINDS: Final[Mapping[str, _Kind]] = {"": _FILE, SCHEME: _FILE, "redis": _REDIS, "rediss": _REDIS}
