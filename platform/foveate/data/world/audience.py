"""The viewers of a simulated world: who they are, what they like from day to day, and when they come.

Shapes: ``V`` viewers, ``D`` days, ``T`` topics, ``F`` favourite channels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.schema import VIEWERS
from foveate.data.world.catalogue import Catalogue
from foveate.data.world.config import DAY, HOUR, SimulateConfig
from foveate.data.world.words import TOPICS_PER_CATEGORY

_COUNTRIES = (("DE", 1, 2), ("GB", 0, 0), ("US", -5, 0), ("ES", 1, 1), ("MX", -6, 1), ("SE", 1, 0), ("KE", 3, 0))
"""Country, hours from UTC, code of its own language (in the order of the catalogue's languages)."""
_COUNTRY_SHARES = (0.14, 0.24, 0.26, 0.1, 0.08, 0.1, 0.08)
_AGES = ("13-17", "18-24", "25-34", "35-44", "45-54", "55+")
_DEVICES = ("phone", "tv", "tablet", "desktop")
_PEAKS = np.array([7.5, 12.5, 20.5])
_PEAK_HOURS = np.array([1.0, 0.9, 1.7])
_FAVOURITES = 5
_WEEKEND = 1.35
_SECOND_REQUEST = 0.5
"""Chance that a session goes on after each request."""


@dataclass(frozen=True)
class Audience:
    """``[V]`` each: what stays the same about a viewer.

    ``language`` is a code of the catalogue's languages that the viewer understands beside the first; ``length`` is the
    logarithm of the liked length in seconds; ``taste`` ``[V, T]`` are log weights of topics on the first day.
    """

    ids: list[str]
    taste: NDArray[np.float32]
    favourites: NDArray[np.int64]
    length: NDArray[np.float32]
    language: NDArray[np.int64]
    joined: NDArray[np.float64]
    left: NDArray[np.float64]
    sessions_per_day: NDArray[np.float64]
    hours: NDArray[np.float64]
    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Visits:
    """Planned requests, sorted by viewer and time; those of viewer ``v`` are ``offsets[v]:offsets[v + 1]``."""

    offsets: NDArray[np.int64]
    start: NDArray[np.int64]
    opens_session: NDArray[np.bool_]


def make_audience(config: SimulateConfig, catalogue: Catalogue, rng: np.random.Generator) -> Audience:
    """Invent viewers."""
    n = config.viewers
    taste = _first_tastes(n, catalogue, rng)
    country = rng.choice(len(_COUNTRIES), size=n, p=_COUNTRY_SHARES)
    away = np.array([hours for _, hours, _ in _COUNTRIES])[country]
    habit = rng.dirichlet((0.6, 0.5, 1.6), n)
    late = rng.random(n) < 0.15
    joined = np.where(late, rng.random(n) * config.days * 0.9, 0.0)
    churned = rng.random(n) < 0.12
    left = np.where(churned, joined + rng.random(n) * (config.days - joined), float(config.days))
    sigma = 0.9
    rate = np.exp(sigma * rng.normal(size=n) - sigma**2 / 2) * config.sessions_per_week / 7
    width = max(5, len(str(n)))
    ids = [f"u{i:0{width}d}" for i in range(n)]
    age, device = rng.integers(0, len(_AGES), n), rng.choice(len(_DEVICES), size=n, p=(0.62, 0.18, 0.08, 0.12))
    attributes = [
        json.dumps({"country": _COUNTRIES[c][0], "age_group": _AGES[a], "device": _DEVICES[d], "subscriber": bool(s)})
        for c, a, d, s in zip(country, age, device, rng.random(n) < 0.3, strict=True)
    ]
    return Audience(
        ids=ids,
        taste=taste,
        favourites=_favourites(taste, catalogue, rng),
        length=(np.log(90.0) + rng.normal(0.0, 1.1, n)).astype(np.float32),
        language=np.array([code for _, _, code in _COUNTRIES])[country],
        joined=joined,
        left=left,
        sessions_per_day=rate,
        hours=np.concatenate([habit, away[:, None]], axis=1),
        frame=pl.DataFrame({"user_id": ids, "attributes": attributes}, schema=VIEWERS),
    )


def taste_paths(
    config: SimulateConfig, audience: Audience, rows: slice, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return ``[V, D, T]`` tastes of the viewers in ``rows``: rows of unit length that wander from day to day.

    Log weights take a small random step each day; now and then a new topic catches on and an old one wears off.
    """
    first = audience.taste[rows]
    n, n_topics = first.shape
    steps = rng.normal(0.0, 0.1 * config.drift, (n, config.days, n_topics)).astype(np.float32)
    catches = np.argwhere(rng.random((n, config.days)) < 0.05 * config.drift)
    viewer, day = catches[:, 0], catches[:, 1]
    steps[viewer, day, rng.integers(0, n_topics, len(viewer))] += 3.0
    steps[viewer, day, np.argmax(first[viewer], axis=1)] -= 1.0
    weights = np.exp(first[:, None, :] + np.cumsum(steps, axis=1))
    return np.asarray(weights / np.linalg.norm(weights, axis=2, keepdims=True), dtype=np.float32)


def plan_visits(config: SimulateConfig, audience: Audience, rng: np.random.Generator) -> Visits:
    """Say when each viewer opens the app, and how many slates each session asks for."""
    n = len(audience)
    active = np.maximum(audience.left - audience.joined, 0.0)
    sessions = rng.poisson(audience.sessions_per_day * active)
    viewer = np.repeat(np.arange(n), sessions)
    day = _days(config, audience, viewer, rng)
    peak = (rng.random(len(viewer))[:, None] > np.cumsum(audience.hours[viewer, :3], axis=1)[:, :2]).sum(axis=1)
    hour = _PEAKS[peak] + _PEAK_HOURS[peak] * rng.normal(size=len(viewer)) - audience.hours[viewer, 3]
    # An early hour of the first day or a late one of the last belongs to the other end of the same day.
    when = config.first + day * DAY + (np.mod(hour, 24.0) * HOUR).astype(np.int64)
    order = np.lexsort((when, viewer))
    viewer, when = viewer[order], when[order]
    requests = rng.geometric(1 - _SECOND_REQUEST, len(viewer))
    opens = np.zeros(int(requests.sum()), dtype=bool)
    opens[np.cumsum(requests) - requests] = True
    per_viewer = np.bincount(np.repeat(viewer, requests), minlength=n)
    offsets = np.concatenate([[0], np.cumsum(per_viewer)])
    return Visits(offsets.astype(np.int64), np.repeat(when, requests), opens)


def _first_tastes(n: int, catalogue: Catalogue, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return ``[V, T]`` log weights: a few loved topics and their kin, over a faint liking for anything."""
    n_topics = catalogue.topics.shape[1]
    supply = np.bincount(catalogue.main_topic, weights=catalogue.appeal, minlength=n_topics) + 1e-3
    share = np.sqrt(supply) / np.sqrt(supply).sum()
    out = (0.5 * rng.normal(size=(n, n_topics))).astype(np.float32)
    rows = np.arange(n)
    for strength in (3.5, 3.0, 2.3, 1.6):
        loved = rng.choice(n_topics, size=n, p=share)
        out[rows, loved] += strength
        start = loved // TOPICS_PER_CATEGORY * TOPICS_PER_CATEGORY
        for step in range(TOPICS_PER_CATEGORY):
            out[rows, start + step] += 0.5 * rng.random(n)
    return out


def _favourites(taste: NDArray[np.float32], catalogue: Catalogue, rng: np.random.Generator) -> NDArray[np.int64]:
    """``[V, F]`` channels that a viewer comes back to: of a liked topic, and rather the larger ones."""
    n, n_topics = taste.shape
    weights = np.exp(taste.astype(np.float64) * 1.2)
    cumulative = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    topic = (rng.random((n, _FAVOURITES))[:, :, None] > cumulative[:, None, :-1]).sum(axis=2)
    # A random video of the topic names the channel: large channels are found more often.
    by_topic = np.argsort(catalogue.main_topic, kind="stable")
    sizes = np.bincount(catalogue.main_topic, minlength=n_topics)
    starts = np.cumsum(sizes) - sizes
    pick = starts[topic] + (rng.random(topic.shape) * sizes[topic]).astype(np.int64)
    chosen = catalogue.channel[by_topic[np.minimum(pick, len(by_topic) - 1)]]
    return np.where(sizes[topic] > 0, chosen, -2)


def _days(
    config: SimulateConfig, audience: Audience, viewer: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    weekday = (np.arange(config.days) + 3 + config.first // DAY) % 7  # 1970 began on a Thursday, weekday 3
    weight = np.where(weekday >= 5, _WEEKEND, 1.0)
    edges = np.concatenate([[0.0], np.cumsum(weight)])
    low = np.interp(audience.joined, np.arange(config.days + 1), edges)[viewer]
    high = np.interp(audience.left, np.arange(config.days + 1), edges)[viewer]
    drawn = low + rng.random(len(viewer)) * (high - low)
    day = np.searchsorted(edges, drawn, side="right") - 1
    return np.asarray(np.clip(day, 0, config.days - 1), dtype=np.int64)
