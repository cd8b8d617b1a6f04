"""Cutting a log into windows: what may be learned from, and what must then be predicted.

Every stage holds the events before its cut and the targets after it; no stage sees its own targets or a later
stage's. ``leave-one-out`` cuts each viewer's own order, ``time`` cuts everyone's clock at the same moment.

Shapes: ``E`` events, ``R`` runs (neighbouring events of one viewer on one item), ``U`` viewers, ``T`` targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError, DataError
from foveate.core.messages import NO_TIME
from foveate.data.events import Events

Protocol: TypeAlias = Literal["leave-one-out", "time"]

_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True)
class SplitConfig:
    """How wide the windows are.

    Parameters
    ----------
    by
        Unit of the ``time`` windows: ``days`` counted back from the end of the log, ``shares`` of its dated events, or
        ``auto``: days where the log spans fewer than ``short_span_days``, else shares.
    ranker_days, selection_days, test_days
        Widths by days, the earliest window first; what lies before them belongs to the encoder.
    ranker_share, selection_share, test_share
        Widths by shares of the dated events.
    short_span_days
        Where ``auto`` changes from days to shares.
    min_history
        Positive interactions that a viewer must have before a target. Leave-one-out asks for at least one.
    back
        ``time``: how many test windows before the newest one the log ends, so that windows that follow one another can
        be tested. With shares of 0.1, ``0``, ``1`` and ``2`` test what follows 90, 80 and 70 % of the dated events.
    """

    by: Literal["auto", "days", "shares"] = "auto"
    ranker_days: float = 2.0
    selection_days: float = 1.0
    test_days: float = 1.0
    ranker_share: float = 0.1
    selection_share: float = 0.1
    test_share: float = 0.1
    short_span_days: float = 60.0
    min_history: int = 0
    back: int = 0

    def __post_init__(self) -> None:
        if min(self.ranker_days, self.selection_days, self.test_days) <= 0:
            raise ConfigError("ranker_days, selection_days and test_days must be above 0")
        shares = (self.ranker_share, self.selection_share, self.test_share)
        if min(shares) <= 0 or sum(shares) >= 1:
            raise ConfigError("ranker_share, selection_share and test_share must be above 0 and sum to less than 1")
        if self.min_history < 0 or self.back < 0:
            raise ConfigError("min_history and back must be 0 or more")


def allowed_protocols(first: int | None) -> tuple[Protocol, ...]:
    """Return the ways to cut a log whose first event has this time: one without times has an order alone."""
    return ("leave-one-out",) if first is None else ("leave-one-out", "time")


@dataclass(frozen=True)
class Targets:
    """What each viewer liked next, oldest first, each item once and none that they had met before.

    Parameters
    ----------
    offsets
        ``[U + 1]`` int64; viewer ``u`` owns the rows ``offsets[u]:offsets[u + 1]``.
    items, times
        ``[T]`` int32 item codes, int64 UTC microseconds (``NO_TIME`` where unknown).
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)

    def of(self, user: int) -> NDArray[np.int32]:
        """Return one viewer's targets."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def users(self) -> NDArray[np.int32]:
        """Return the codes of the viewers who have a target."""
        return np.flatnonzero(np.diff(self.offsets)).astype(np.int32)

    def user_of_rows(self) -> NDArray[np.int32]:
        """``[T]``: whose target each row is."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), np.diff(self.offsets))

    def first(self) -> NDArray[np.int32]:
        """``[U]``: each viewer's next item, ``-1`` for none."""
        out = np.full(len(self.offsets) - 1, -1, dtype=np.int32)
        users = self.users()
        out[users] = self.items[self.offsets[users]]
        return out


@dataclass(frozen=True)
class Stage:
    """One cut: learn from ``history``, predict ``targets``.

    ``now`` is the moment of the cut in UTC microseconds, ``until`` the end of the targets' window; both are
    ``NO_TIME`` where the clock is order only. ``after`` is what was done in the window beside, where labels need it.
    """

    name: str
    history: Events
    targets: Targets
    now: int = NO_TIME
    until: int = NO_TIME
    after: Events | None = None


@dataclass(frozen=True)
class Windows:
    """The stages of one protocol, in the order in which they may be looked at.

    ``ranker``: an encoder that learned from its history retrieves, and its targets label the re-ranker.
    ``selection``: hyper-parameters are chosen on it. ``test``: read once a model.
    """

    protocol: Protocol
    ranker: Stage
    selection: Stage
    test: Stage

    def __iter__(self) -> Iterator[Stage]:
        yield from (self.ranker, self.selection, self.test)


def windows(events: Events, protocol: Protocol, config: SplitConfig | None = None) -> Windows:
    """Cut a log.

    Parameters
    ----------
    events
        Every event, sorted by viewer and order.
    protocol
        ``leave-one-out``: a viewer's last three positive items that were new to them are, backwards, the targets of
        test, selection and ranker; each history ends where its target's first event begins. A viewer with fewer takes
        part in fewer stages. ``time``: the targets of a stage are the positive items of its window that are new to
        the viewer; events without a time lie before every cut.

    Raises
    ------
    DataError
        The log has no time to cut by, or a stage would be left without a target.
    """
    config = config or SplitConfig()
    stages = _by_order(events, config) if protocol == "leave-one-out" else _by_time(events, config)
    for stage in stages:
        if not len(stage.targets):
            raise DataError(
                f"the {protocol} split leaves no target for '{stage.name}': the log is too short or holds too few "
                "positive events; import more of it, widen the split, or set signals.positive"
            )
    return Windows(protocol, *stages)


def label_stages(cut: Windows, count: int, config: SplitConfig | None = None) -> list[Stage]:
    """Return the stages that label a re-ranker before the selection's, oldest first.

    Every one is retrieved by sources that learned from its own history alone.

    Parameters
    ----------
    cut
        The windows of one protocol.
    count
        ``time``: into how many equal parts the ranker's window is cut. ``leave-one-out``: how many of each viewer's
        items are used, the ranker's own and those before it. A part without a target is left out.
    """
    config = config or SplitConfig()
    if count < 1:
        raise ConfigError(f"the ranker needs at least one label window, got {count}")
    if cut.protocol == "leave-one-out":
        names = [f"ranker-{place}" for place in range(1, count)]
        stages = [*_by_order(cut.ranker.history, config, names), cut.ranker]
    else:
        edges = np.linspace(cut.ranker.now, cut.ranker.until, count + 1).astype(np.int64).tolist()
        parts = zip([f"ranker-{i}" for i in reversed(range(count))], edges[:-1], edges[1:], strict=True)
        stages = [_between(cut.selection.history, config, *part) for part in parts]
    return [stage for stage in stages if len(stage.targets)]


def parts_of(events: Events, edges: Sequence[int], min_history: int = 0) -> list[Stage]:
    """Return one stage for each stretch between neighbouring ``edges`` (UTC microseconds) that has a target."""
    config = SplitConfig(min_history=min_history)
    named = zip(range(1, len(edges)), edges[:-1], edges[1:], strict=True)
    stages = [_between(events, config, f"part {place}", start, end) for place, start, end in named]
    return [stage for stage in stages if len(stage.targets)]


def cuts(times: NDArray[np.int64], config: SplitConfig) -> tuple[int, int, int, int]:
    """Return where the ranker's, the selection's and the test's windows begin, and where the last one ends.

    Parameters
    ----------
    times
        UTC microseconds of the events, those without a time included.

    Raises
    ------
    DataError
        No event has a time, or nothing is left before windows that lie so far back.
    """
    dated = times[times != NO_TIME]
    if not len(dated):
        raise DataError("the log has no times, so it cannot be cut by time; use the leave-one-out protocol")
    first, last = int(dated.min()), int(dated.max())
    by_days = config.by == "days" or (config.by == "auto" and last - first < config.short_span_days * _DAY)
    if not by_days:
        widths = [*[config.test_share] * (config.back + 1), config.selection_share, config.ranker_share]
        from_end = np.cumsum([0.0, *widths])[config.back :]
        if from_end[-1] > 1 - 1e-9:
            raise DataError(_too_far(config, "shares leave nothing of the log"))
        end, test, selection, ranker = (int(t) for t in np.quantile(dated, 1 - from_end, method="higher"))
        return ranker, selection, test, end if config.back else last + 1
    # Logs are cut at midnight where their viewers live. Counting back from the last full hour keeps their days whole
    # without having to know the time zone.
    end = (last // _HOUR + 1) * _HOUR - round(config.back * config.test_days * _DAY)
    test = end - round(config.test_days * _DAY)
    selection = test - round(config.selection_days * _DAY)
    ranker = selection - round(config.ranker_days * _DAY)
    if config.back and ranker <= first:
        raise DataError(_too_far(config, "days leave nothing of the log"))
    return ranker, selection, test, end


def _too_far(config: SplitConfig, why: str) -> str:
    return f"{config.back + 1} windows that follow one another need more of the log: their {why}; ask for fewer windows"


def _by_time(events: Events, config: SplitConfig) -> list[Stage]:
    edges = cuts(events.time, config)
    names = ("ranker", "selection", "test")
    return [_between(events, config, *cut) for cut in zip(names, edges[:-1], edges[1:], strict=True)]


def _between(events: Events, config: SplitConfig, name: str, start: int, end: int) -> Stage:
    history = events.take(events.time < start)
    window = events.take((events.time >= start) & (events.time < end) & events.positive)
    keys = _pairs(window)
    distinct, once = np.unique(keys, return_index=True)
    new = np.zeros(len(window), dtype=bool)
    new[once[~_held(distinct, _pairs(history))]] = True
    positives = np.bincount(history.user[history.positive], minlength=events.n_users)
    new &= positives[window.user] >= config.min_history
    return Stage(name, history, _targets(window.take(new)), start, end)


def _by_order(
    events: Events, config: SplitConfig, names: Sequence[str] = ("test", "selection", "ranker")
) -> list[Stage]:
    starts, labels = _new_runs(events)
    positives = np.concatenate([[0], np.cumsum(events.positive)])
    offsets = events.offsets()
    before = positives[starts] - positives[offsets[events.user[starts]]]
    back = _rank_from_end(events.user[starts], events.n_users)
    cut = offsets[1:].copy()
    stages = []
    for place, name in enumerate(names):
        mine = (back == place) & (before >= max(1, config.min_history))
        # A viewer without a target here keeps the later stage's cut, so that its target stays out of sight.
        cut[events.user[starts[mine]]] = starts[mine]
        history = events.take(np.arange(len(events)) < cut[events.user])
        stages.append(Stage(name, history, _targets(events.take(labels[mine]))))
    return stages[::-1]


def _new_runs(events: Events) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the runs start in which a viewer meets an item for the first time and likes it, and where they do.

    A watch and the like that follows it are one meeting: a run is a viewer's neighbouring events on one item.
    """
    pairs = _pairs(events)
    starts = np.flatnonzero(np.diff(pairs, prepend=-1)).astype(np.int64)
    _, first = np.unique(pairs[starts], return_index=True)
    run = np.zeros(len(events), dtype=np.int64)
    run[starts[1:]] = 1
    run = np.cumsum(run)
    rows = np.flatnonzero(events.positive)
    liked, at = np.unique(run[rows], return_index=True)
    both, _, at_liked = np.intersect1d(first, liked, assume_unique=True, return_indices=True)
    return starts[both], rows[at[at_liked]]


def _rank_from_end(user: NDArray[np.int32], n_users: int) -> NDArray[np.int64]:
    ends = np.cumsum(np.bincount(user, minlength=n_users))
    return ends[user] - 1 - np.arange(len(user))


def _pairs(events: Events) -> NDArray[np.int64]:
    return events.user.astype(np.int64) * events.n_items + events.item


def _targets(chosen: Events) -> Targets:
    return Targets(chosen.offsets(), chosen.item, chosen.time)


def _held(distinct: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the ascending ``distinct`` are among ``pairs``; long logs are looked through, not sorted."""
    held = np.zeros(len(distinct) + 1, dtype=bool)
    place = np.searchsorted(distinct, pairs)
    padded = np.append(distinct, -1)
    held[place[padded[place] == pairs]] = True
    return held[:-1]
