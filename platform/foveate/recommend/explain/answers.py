"""Explanations in ids and titles: plain frozen dataclasses, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Where: TypeAlias = Literal["unknown", "filtered", "not_retrieved", "ranked", "displaced", "shown"]
"""Where an item fell, in the order of a request; ``shown``: it did not."""


@dataclass(frozen=True, slots=True)
class HistoryItem:
    """One item of the viewer's history that carried an item of the slate.

    Parameters
    ----------
    title
        None where the catalogue has none.
    drop
        What it adds to the source's score: exactly, where that is a sum over the history, and measured elsewhere.
    share
        ``drop`` as a share of all falls; those of the whole history sum to one.
    """

    item_id: str
    title: str | None
    drop: float
    share: float


@dataclass(frozen=True, slots=True)
class Look:
    """The share of the encoder's attention that went to one item of the history: where it looked, not why."""

    item_id: str
    title: str | None
    share: float


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to the ranker's score."""

    feature: str
    value: float


@dataclass(frozen=True, slots=True)
class ItemExplanation:
    """Why one item stands where it does.

    Parameters
    ----------
    position
        Place in the slate, from 0.
    sources
        The candidate sources that had it among their best.
    carried_by
        The one of them whose score ``history`` tells of; None where all of them score alike whoever asks.
    history
        Items of the history that raised its score, the most first; ``sentence`` names the first three.
    faithfulness
        Of as many items drawn at random from the history, how often taking them out lowers the source's score less than
        taking out those that are named does: 1 always, 0.5 no better than chance. None where the history is too short
        to tell or nothing carried the item.
    attention
        Where the encoder looked, the most first, if ``carried_by`` is an encoder whose mixer weighs events.
    attention_faithfulness
        The same as ``faithfulness``, of the items in ``attention``.
    base, contributions, others
        What every score starts from, the features that add or take the most, and the sum of all other features: they
        add up to ``score``.
    rank
        Place by the ranker's score alone, from 1.
    moved_by
        What brought it into the slate, if the ranker alone would not have: labels of rules, or the policy.
    sentence
        All of this in one sentence.
    """

    item_id: str
    title: str | None
    position: int
    score: float
    sources: tuple[str, ...]
    carried_by: str | None
    history: tuple[HistoryItem, ...]
    faithfulness: float | None
    attention: tuple[Look, ...]
    attention_faithfulness: float | None
    base: float
    contributions: tuple[Contribution, ...]
    others: float
    rank: int
    moved_by: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class SlateExplanation:
    """Why a slate is as it is: its items' explanations, in slate order."""

    user_id: str
    bundle_id: str
    state_version: int
    items: tuple[ItemExplanation, ...]


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Where an item fell on its way to a viewer's slate.

    Parameters
    ----------
    where
        The stage at which it fell.
    by
        ``filtered``: names of the filters that shut it out. ``displaced``: labels of the rules, or the policy.
    source_ranks
        From ``not_retrieved`` on: its place from 1 among all items open to the viewer, by each source.
    candidates
        How many candidates the ranker ordered, from ``ranked`` on.
    rank, score
        Its place from 1 and its score by the ranker, from ``ranked`` on.
    position
        Its place in the slate from 0, where it is shown.
    instead
        The item that stands in its place, where it was displaced.
    sentence
        All of this in one sentence.
    """

    item_id: str
    title: str | None
    where: Where
    sentence: str
    by: tuple[str, ...] = ()
    source_ranks: Mapping[str, int] = field(default_factory=dict)
    candidates: int | None = None
    rank: int | None = None
    score: float | None = None
    position: int | None = None
    instead: str | None = None
