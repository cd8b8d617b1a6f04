"""Behaviour of simulated viewers: interest, clicks, watching, and reactions afterwards.

Shapes: ``B`` viewers, ``P`` items that are weighed, ``S`` slots, ``T`` topics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.data.world.catalogue import NONE, Catalogue
from foveate.data.world.config import DAY, SECOND, SimulateConfig

RECENT = 4
"""How many of the last long views a sequel may follow."""


@dataclass
class Minds:
    """What viewers have on their minds now, a row each.

    ``mood`` ``[B, T]`` leans towards what was just enjoyed; ``awaited`` ``[B, RECENT]`` are the next episodes of the
    last enjoyed videos, newest first; ``favourites`` ``[B, F]`` channels; ``length`` and ``language`` as in
    :class:`~foveate.data.world.audience.Audience`.
    """

    mood: NDArray[np.float32]
    awaited: NDArray[np.int64]
    favourites: NDArray[np.int64]
    length: NDArray[np.float32]
    language: NDArray[np.int64]

    def at(self, rows: NDArray[np.int64]) -> Minds:
        """Return the minds of ``rows``."""
        return Minds(self.mood[rows], self.awaited[rows], self.favourites[rows], self.length[rows], self.language[rows])


@dataclass(frozen=True)
class Attraction:
    """``[B, P]`` the parts of interest that the app can guess: ``taste``, ``mood``, ``sequel``, ``favourite``."""

    taste: NDArray[np.float32]
    mood: NDArray[np.float32]
    sequel: NDArray[np.float32]
    favourite: NDArray[np.bool_]


@dataclass(frozen=True)
class Response:
    """``[B, S]`` each: what viewers did with a slate; times are UTC microseconds."""

    interest: NDArray[np.float32]
    clicked: NDArray[np.bool_]
    clicked_at: NDArray[np.int64]
    finished_at: NDArray[np.int64]
    watched: NDArray[np.float32]
    long_view: NDArray[np.bool_]
    pleased: NDArray[np.bool_]


def attraction(catalogue: Catalogue, minds: Minds, taste: NDArray[np.float32], items: NDArray[np.int64]) -> Attraction:
    """Weigh ``items`` ``[B, P]`` for viewers of today's ``taste`` ``[B, T]``."""
    topics = catalogue.topics[items]
    sequel = np.zeros(items.shape, dtype=np.float32)
    for back in range(RECENT):
        hit = (items == minds.awaited[:, back : back + 1]) & (items != NONE)
        sequel = np.maximum(sequel, np.where(hit, np.float32(0.85**back), np.float32(0)))
    channel = catalogue.channel[items]
    favourite = (channel[:, :, None] == minds.favourites[:, None, :]).any(axis=2)
    return Attraction(
        taste=np.matmul(topics, taste[:, :, None])[:, :, 0],
        mood=np.matmul(topics, minds.mood[:, :, None])[:, :, 0],
        sequel=sequel,
        favourite=favourite,
    )


def interest(
    config: SimulateConfig,
    catalogue: Catalogue,
    minds: Minds,
    *,
    parts: Attraction,
    items: NDArray[np.int64],
    now: NDArray[np.int64],
) -> NDArray[np.float32]:
    """``[B, P]`` log odds that a viewer who opens the video is pleased by it."""
    length = np.abs(np.log(catalogue.seconds[items]) - minds.length[:, None])
    age = np.maximum(now[:, None] - catalogue.available[items], 0) / DAY
    language = catalogue.language[items]
    foreign = (language > 0) & (language != minds.language[:, None])
    out = (
        -3.1
        + 3.6 * parts.taste
        + 2.4 * parts.mood
        + config.sequels * parts.sequel
        + 0.9 * parts.favourite
        + 0.8 * catalogue.quality[items]
        - 0.35 * length
        + 0.7 * np.exp(-age / 4.0)
        - 2.0 * foreign
    )
    return np.asarray(out, dtype=np.float32)


def respond(
    config: SimulateConfig,
    catalogue: Catalogue,
    odds: NDArray[np.float32],
    *,
    items: NDArray[np.int64],
    now: NDArray[np.int64],
    rng: np.random.Generator,
) -> Response:
    """Let viewers look through slates ``items`` ``[B, S]`` (``-1`` for an empty slot) shown at ``now`` ``[B]``.

    A slot is looked at the less, the lower it stands; a title may promise more than the video keeps.
    """
    shape = items.shape
    bait = catalogue.clickbait[items]
    viewed = rng.random(shape) < (1.0 + np.arange(shape[1])) ** -0.35
    clicked = viewed & (items >= 0) & (rng.random(shape) < _chance(odds + 0.9 + 0.8 * bait))
    pleased = rng.random(shape) < _chance(odds + 0.9 - 0.5 * bait)
    seconds = catalogue.seconds[items]
    watched = np.where(clicked, _watch(seconds, pleased, rng), np.float32(0))
    enough = np.minimum(config.long_view_share * seconds, config.long_view_seconds)
    looking = np.cumsum(rng.uniform(0.6, 3.0, shape), axis=1)
    before = np.cumsum(watched, axis=1) - watched
    clicked_at = now[:, None] + ((looking + before) * SECOND).astype(np.int64)
    return Response(
        interest=_chance(odds).astype(np.float32),
        clicked=clicked,
        clicked_at=clicked_at,
        finished_at=clicked_at + (watched.astype(np.float64) * SECOND).astype(np.int64),
        watched=watched,
        long_view=clicked & (watched >= enough),
        pleased=pleased,
    )


def remember(
    catalogue: Catalogue, minds: Minds, items: NDArray[np.int64], enjoyed: NDArray[np.bool_], path: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the moods and the awaited episodes after a slate; ``path`` ``[T]`` names the topic that one leads to."""
    felt = (catalogue.topics[items] * enjoyed[:, :, None]).sum(axis=1)
    felt = 0.5 * felt + 0.5 * felt[:, np.argsort(path)]
    norm = np.linalg.norm(felt, axis=1, keepdims=True)
    mood = np.where(norm > 0, 0.35 * minds.mood + 0.65 * felt / np.maximum(norm, 1e-9), 0.85 * minds.mood)
    awaited = minds.awaited.copy()
    for slot in range(items.shape[1]):
        rows = np.flatnonzero(enjoyed[:, slot])
        awaited[rows, 1:] = awaited[rows, :-1]
        awaited[rows, 0] = catalogue.following[items[rows, slot]]
    return mood.astype(np.float32), awaited


def _watch(seconds: NDArray[np.float32], pleased: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Seconds watched: a share of the video that falls with its length, and little of one that does not please."""
    decades = np.log10(seconds / 30.0)
    mean = np.where(pleased, np.clip(0.86 - 0.14 * decades, 0.3, 0.95), np.clip(0.35 - 0.12 * decades, 0.05, 0.45))
    share = rng.beta(5.0 * mean, 5.0 * (1.0 - mean))
    patience = np.where(pleased, np.inf, rng.exponential(35.0, seconds.shape))
    # A good short plays to its end more often than not.
    share = np.where(pleased & (seconds < 60) & (rng.random(seconds.shape) < 0.5), 1.0, share)
    watched = np.minimum(np.minimum(share * seconds, patience), seconds)
    return np.clip(np.round(watched, 1), 0.5, None).astype(np.float32)


def _chance(odds: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))
