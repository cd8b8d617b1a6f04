"""Common names of columns and events, and the ones of ours that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from foveate.data.importing.contacts import DURATION
from foveate.data.schema import EVENT_ID, ITEM_ID, KIND, LONG_VIEW, OCCURRED_AT, RATE, USER_ID, VALUE, WATCH

LOG_NAMES: Final[dict[str, tuple[str, ...]]] = {
    USER_ID: ("user", "uid", "viewer", "viewerid", "customerid", "customer", "memberid", "profileid", "accountid",
              "visitorid", "reviewerid", "userno", "usernumber", "username", "raterid", "listenerid"),
    ITEM_ID: ("item", "iid", "videoid", "video", "vid", "movieid", "movie", "filmid", "film", "contentid", "content",
              "itemno", "showid", "programid", "mediaid", "assetid", "productid", "parentasin", "asin", "articleid",
              "trackid", "songid", "bookid", "imdbid", "titleid"),
    OCCURRED_AT: ("timestamp", "ts", "time", "datetime", "eventtime", "eventtimestamp", "createdat", "watchedat",
                  "viewedat", "ratedat", "unixreviewtime", "unixtime", "timems", "timestampms", "date", "eventdate",
                  "reviewtime", "startedat", "starttime", "when", "day", "dt", "ds"),
    KIND: ("eventtype", "event", "action", "actiontype", "eventname", "behavior", "behaviortype", "interaction",
           "interactiontype", "type", "feedbacktype"),
    VALUE: ("eventvalue",),
    WATCH: ("watchtime", "watchseconds", "watchduration", "secondswatched", "watchedseconds", "secondsplayed",
            "playtime", "playseconds", "playduration", "viewtime", "dwelltime", "timespent", "watchtimes",
            "watchtimems", "playtimems", "watchms", "watchminutes", "minuteswatched", "msplayed"),
    RATE: ("rating", "ratings", "stars", "starrating", "overall"),
    "click": ("isclick", "clicked", "clicks"),
    LONG_VIEW: ("longview", "islongview", "completed"),
    "like": ("liked", "islike", "likes", "thumbsup"),
    "comment": ("iscomment", "commented"),
    "follow": ("isfollow", "followed", "subscribed"),
    "share": ("isshare", "shared", "isforward", "forward"),
    "save": ("saved", "bookmarked", "favorited", "favourited", "isfavorite"),
    "hide": ("ishide", "hidden", "ishate", "disliked", "dislike", "notinterested"),
    EVENT_ID: ("eventuuid",),
    "surface": ("page", "placement"),
    "position": ("rank",),
    "policy_id": ("policy",),
    "propensity": ("propensityscore",),
    DURATION: ("videoduration", "durationseconds", "durationms", "videodurationms", "videolength"),
    "text": ("commenttext", "reviewtext", "review"),
}  # fmt: skip
"""Columns of a log: ours, and what others call them, without case and marks; the most telling first."""

ITEM_NAMES: Final[dict[str, tuple[str, ...]]] = {
    ITEM_ID: (*LOG_NAMES[ITEM_ID], "id"),
    "title": ("name", "movietitle", "videotitle", "itemname", "itemtitle", "headline", "primarytitle", "originaltitle"),
    "channel_id": ("channel", "author", "authorid", "creator", "creatorid", "uploader", "uploaderid", "publisher",
                   "studio", "channeltitle", "channelname", "brand", "store"),
    "categories": ("genres", "genre", "category", "maincategory", "class", "topics", "topic"),
    "tags": ("tag", "keywords", "labels", "hashtags"),
    "duration_seconds": ("duration", "seconds", "length", "videoduration", "durationms", "videodurationms",
                         "runtimeminutes", "durationminutes", "lengthseconds", "runtime"),
    "published_at": ("published", "publishdate", "publisheddate", "publishtime", "releasedate", "released",
                     "uploaddate", "uploadedat", "uploaddt", "uploadtime", "createdat", "releaseyear", "year",
                     "startyear"),
    "available_from": ("availableat", "availablesince"),
    "maturity": ("agerating", "minage", "ageminimum", "age"),
    "language": ("lang", "originallanguage", "languagecode"),
    "regions": ("region", "countries", "country", "availableregions"),
    "safety": ("safetyscore",),
}  # fmt: skip
"""Columns of a table of items, likewise."""

KIND_NAMES: Final[dict[str, tuple[str, ...]]] = {
    WATCH: ("play", "played", "view", "viewed", "watched", "stream", "streamed", "pv", "impressionplay", "videoplay",
            "videoview", "videowatch", "start", "listen"),
    "click": ("clicked", "tap", "tapped", "open", "opened", "select", "selected"),
    LONG_VIEW: ("longview", "complete", "completed", "finish", "finished", "videocomplete"),
    "like": ("liked", "thumbsup", "thumbup", "upvote", "love", "heart"),
    "comment": ("commented", "reply"),
    "follow": ("followed", "subscribe", "subscribed"),
    "share": ("shared", "forward", "repost", "retweet"),
    "save": ("saved", "bookmark", "bookmarked", "favorite", "favourite", "favorited", "fav", "addtolist",
             "addtowatchlist", "watchlist", "watchlater"),
    RATE: ("rated", "rating", "stars"),
    "hide": ("hidden", "dislike", "disliked", "thumbsdown", "downvote", "notinterested", "block"),
}  # fmt: skip
"""Kinds of event: ours, and what others call them."""

_UNITS: Final = {
    1e-9: ("ns", "nanos", "nanosecs", "nanoseconds"),
    1e-6: ("us", "micros", "microsecs", "microseconds", "usec"),
    0.001: ("ms", "millis", "millisecs", "milliseconds", "msec", "msecs", "millisecond"),
    1.0: ("s", "sec", "secs", "second", "seconds"),
    60.0: ("min", "mins", "minute", "minutes"),
    3600.0: ("h", "hr", "hrs", "hour", "hours"),
}
"""Seconds in a unit, and how the names of columns write it."""

_LENGTHS: Final = (WATCH, DURATION, "duration_seconds")
_LENGTH_WORDS: Final = ("watch", "watchtime", "playtime", "duration", "length", "runtime", "videoduration")

_WORDS_OF_LENGTHS: Final = (
    "watch",
    "watched",
    "played",
    "dwell",
    "duration",
    "length",
    "elapsed",
    "runtime",
    "seconds",
)


def plain(name: str) -> str:
    """Return a name without case, marks and spaces: ``movie_id`` and ``movieId`` are the same."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def is_column_name(name: str) -> bool:
    """Whether people call a column so, in a log or in a table of items."""
    return any(name in names or plain(name) in _spellings(names) for names in (LOG_NAMES, ITEM_NAMES))


def guess_columns(found: Sequence[str], known: Mapping[str, tuple[str, ...]], taken: Iterable[str]) -> dict[str, str]:
    """Return our column to theirs, as far as their names say.

    Parameters
    ----------
    found
        Their columns.
    known
        What ours are called: :data:`LOG_NAMES` or :data:`ITEM_NAMES`.
    taken
        Their columns that somebody has named already; each is one of ours at most.
    """
    left = [name for name in found if name not in set(taken)]
    guessed: dict[str, str] = {}
    for spell, wanted in ((plain, known), (_without_unit, _lengths(known)), (_without_table(left), known)):
        spelled = {name: spell(name) for name in left}
        for rank in range(1 + max(map(len, wanted.values()))):
            for ours, names in wanted.items():
                spelling = plain(ours) if rank == 0 else names[rank - 1] if rank <= len(names) else None
                theirs = next((name for name in left if spelled[name] == spelling), None)
                if theirs is not None and ours not in guessed:
                    guessed[ours] = theirs
                    left.remove(theirs)
    return guessed


def guess_kinds(found: Iterable[str | None], known: Sequence[str]) -> dict[str, str]:
    """Return their kind of event to ours, as far as the words say: ``video.play`` is a ``watch``."""
    by_spelling = {name: ours for ours, names in KIND_NAMES.items() for name in (plain(ours), *names)}
    guessed = {}
    for kind in found:
        if kind is None or kind in known:
            continue
        last = re.split(r"[.:/]", kind)[-1]
        ours = by_spelling.get(plain(kind)) or by_spelling.get(plain(last))
        if ours is not None:
            guessed[kind] = ours
    return guessed


def seconds_scale(name: str) -> float:
    """Return the seconds in one unit of a column of lengths, by its name, such as ``play_time_ms``."""
    rest, unit = _unit(name)
    return unit or (60.0 if rest == "runtime" else 1.0)


def is_length_name(name: str) -> bool:
    """Whether a name says that a column may hold how long something took or takes."""
    words = set(re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower()))
    return _unit(name)[1] is not None or bool(words & set(_WORDS_OF_LENGTHS))


def _lengths(known: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {ours: names for ours, names in known.items() if ours in _LENGTHS}


def _without_unit(name: str) -> str:
    return _unit(name)[0]


def _unit(name: str) -> tuple[str, float | None]:
    """Return a name's spelling without the unit that it says, and the seconds in that; None where it says none."""
    words = re.findall("[a-z]+|[0-9]+", re.sub("([a-z])([A-Z])", r"\1 \2", name).lower())
    for seconds, units in _UNITS.items():
        for unit in units:
            if len(words) > 1 and words[-1] == unit:
                return "".join(words[:-1]), seconds
            # min_length is the least, s_length is no length in seconds.
            if len(words) > 1 and words[0] == unit and (unit == "ms" or len(unit) > 4):
                return "".join(words[1:]), seconds
            if len(words) == 1 and len(unit) > 1 and words[0] in {word + unit for word in _LENGTH_WORDS}:
                return words[0].removesuffix(unit), seconds
    return "".join(words), None


def _without_table(names: Sequence[str]) -> Callable[[str], str]:
    """Return how names are spelled without what stands before all of them: Hive writes ``ratings.user_id``."""
    tables = {name.rpartition(".")[0] for name in names}
    return lambda name: plain(name.rpartition(".")[2]) if len(tables) == 1 and len(names) > 1 else ""


def guess_log_positions(names: Sequence[str], rows: pl.DataFrame, is_time: Mapping[str, bool]) -> dict[str, str]:
    """Return our columns of a log without names, in the order that such logs have: who, what, how much, when.

    Parameters
    ----------
    names
        Their columns, in order.
    rows
        Some rows.
    is_time
        Whether each column holds times.
    """
    if len(names) < 2:
        return {}
    guessed = {USER_ID: names[0], ITEM_ID: names[1]}
    for name in names[2:]:
        if is_time[name] and OCCURRED_AT not in guessed:
            guessed[OCCURRED_AT] = name
        elif RATE not in guessed and _are_ratings(rows[name]):
            guessed[RATE] = name
    return guessed


def guess_item_positions(names: Sequence[str], rows: pl.DataFrame) -> dict[str, str]:
    """Return our columns of a table of items without names: an id, a title, and a list where there is one."""
    guessed = dict(zip((ITEM_ID, "title"), names, strict=False))
    listed = [name for name in names[2:] if rows[name].cast(pl.String).str.contains("|", literal=True).any()]
    if listed or len(names) == 3:
        guessed["categories"] = (listed or list(names[2:]))[0]
    return guessed


def _are_ratings(column: pl.Series) -> bool:
    known = column.drop_nulls()
    numbers = known.cast(pl.Float64, strict=False)
    fit = numbers.null_count() == 0 and len(known) > 0 and bool(numbers.is_between(-1, 100).all())
    return fit and numbers.n_unique() <= 101


def _spellings(names: Mapping[str, tuple[str, ...]]) -> set[str]:
    return {plain(ours) for ours in names} | {name for others in names.values() for name in others}
