"""The videos of a simulated world and the channels that make them.

Shapes: ``I`` items, ``C`` channels, ``T`` topics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.schema import EVERYWHERE, ITEMS, TIMESTAMP
from foveate.data.world import text
from foveate.data.world.config import DAY, HOUR, SimulateConfig
from foveate.data.world.words import CATEGORY_NAMES, TOPIC_NAMES, TOPICS_PER_CATEGORY

NONE = -1
FORMS = {"short": (28.0, 0.5), "clip": (240.0, 0.5), "long": (960.0, 0.45), "programme": (2700.0, 0.25)}
"""Median seconds and spread of the logarithm, by the form of a video."""
_FORM_SHARES = (0.42, 0.3, 0.2, 0.08)
_LANGUAGES, _LANGUAGE_SHARES = ("en", "es", "de"), (0.84, 0.09, 0.07)
_MATURITY = {"Gaming": 12, "Film": 12, "News": 7, "Comedy": 7}
_REGIONS = {"en": ["GB", "US"], "es": ["ES", "US"], "de": ["AT", "DE"]}
_AT_HOME = 0.05
"""Share of the videos that may only be shown where their language is at home."""
_LATER = ("regions", "safety")
_CHECKS_SEED = 1
_ITEMS_PER_CHANNEL = 14
_FRESH_DAYS = 3.0


@dataclass(frozen=True)
class Catalogue:
    """Items in the order of publication; ``[I]`` each unless said otherwise.

    ``topics`` is ``[I, T]`` with rows of unit length; ``quality`` and ``clickbait`` are latent; ``following`` is the
    next episode or ``NONE``.
    """

    ids: list[str]
    topics: NDArray[np.float32]
    main_topic: NDArray[np.int64]
    channel: NDArray[np.int64]
    channel_ids: list[str]
    following: NDArray[np.int64]
    appeal: NDArray[np.float64]
    quality: NDArray[np.float32]
    clickbait: NDArray[np.float32]
    seconds: NDArray[np.float32]
    published: NDArray[np.int64]
    available: NDArray[np.int64]
    language: NDArray[np.int64]
    subject: list[str]
    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.ids)

    def popularity(self, config: SimulateConfig) -> NDArray[np.float64]:
        """``[days, I]`` how strongly each video is pushed on each day; 0 before the day it becomes available."""
        day = config.first + DAY * np.arange(config.days)[:, None]
        age = (day + DAY // 2 - self.available[None, :]) / DAY
        fresh = 1.0 + 3.0 * np.exp(-np.maximum(age, 0.0) / _FRESH_DAYS)
        faded = 0.25 + 0.75 * np.exp(-np.maximum(age, 0.0) / 90.0)
        out_yet = self.available[None, :] < day + DAY
        return np.where(out_yet, self.appeal[None, :] * fresh * faded, 0.0)


def make_catalogue(config: SimulateConfig, rng: np.random.Generator) -> Catalogue:
    """Invent channels, then their videos."""
    n = config.items
    channels = max(3, n // _ITEMS_PER_CHANNEL)
    sizes = 1.0 / np.arange(1, channels + 1) ** 0.6
    channel = np.minimum(np.searchsorted(np.cumsum(sizes / sizes.sum()), rng.random(n)), channels - 1)
    n_topics = len(TOPIC_NAMES)
    # The large channels, which come first, share out the topics among them.
    main = np.resize(rng.permutation(n_topics), channels)
    channel_topic = np.stack([main, rng.integers(0, n_topics, channels)], axis=1)
    form = rng.choice(len(FORMS), size=channels, p=_FORM_SHARES)
    language = rng.choice(len(_LANGUAGES), size=channels, p=_LANGUAGE_SHARES)
    channel_quality = rng.normal(0.0, 0.7, channels)
    channel_bait = rng.normal(0.0, 0.5, channels)

    published, available = _times(config, rng)
    series, episode, following = _series(channel, available, rng)
    main_topic = _topics_of(channel_topic[channel], series, rng)
    topics = _mixtures(main_topic, channel_topic[channel, 1], n_topics, rng)
    seconds = _durations(form[channel], rng)
    quality = channel_quality[channel] + rng.normal(0.0, 0.7, n)
    appeal = np.exp(1.2 * quality + rng.normal(0.0, 0.5, n))
    tongue = language[channel]
    names = text.handles(channel_topic[:, 0], rng)
    spoken = [_LANGUAGES[code] for code in tongue]
    subject = text.subjects(main_topic, spoken, rng)
    short = seconds <= text.SHORT_SECONDS
    width = max(5, len(str(n)))
    ids = [f"v{i:0{width}d}" for i in range(n)]
    categories = _categories(main_topic, channel_topic[channel, 1], rng)
    adult = rng.random(n) < 0.02
    frame = pl.DataFrame(
        {
            "item_id": ids,
            "title": text.titles(subject, main_topic, spoken, seconds=seconds, series=series, episode=episode, rng=rng),
            "channel_id": [names[c] for c in channel],
            "categories": categories,
            "tags": text.tags(subject, main_topic, short, text.subjects(main_topic, spoken, rng)),
            "duration_seconds": seconds,
            "published_at": pl.Series(published).cast(TIMESTAMP),
            "available_from": pl.Series(available).cast(TIMESTAMP),
            "maturity": [18 if a else _MATURITY.get(c[0], 0) for a, c in zip(adult, categories, strict=True)],
            "language": spoken,
        },
        schema_overrides={name: dtype for name, dtype in ITEMS.items() if name not in _LATER},
    )
    clickbait = (channel_bait[channel] + rng.normal(0.0, 0.3, n)).astype(np.float32)
    frame = frame.with_columns(_checks(spoken, clickbait, adult, config.seed))
    return Catalogue(
        ids=ids,
        topics=topics,
        main_topic=main_topic,
        channel=channel,
        channel_ids=names,
        following=following,
        appeal=appeal,
        quality=quality.astype(np.float32),
        clickbait=clickbait,
        seconds=seconds,
        published=published,
        available=available,
        language=tongue,
        subject=subject,
        frame=frame,
    )


def _checks(spoken: list[str], clickbait: NDArray[np.float32], adult: NDArray[np.bool_], seed: int) -> list[pl.Series]:
    """Return where each video may be shown and how harmless a made-up check found it: bait and adult ones less so.

    They are drawn apart, so that a world of one seed is otherwise what it was without them.
    """
    rng = np.random.default_rng([seed, _CHECKS_SEED])
    at_home = rng.random(len(spoken)) < _AT_HOME
    regions = [_REGIONS[tongue] if home else [EVERYWHERE] for tongue, home in zip(spoken, at_home, strict=True)]
    doubt = clickbait + 2.0 * adult + rng.normal(0.0, 0.3, len(spoken))
    safety = 1.0 / (1.0 + np.exp(2.0 * doubt - 2.5))
    return [pl.Series("regions", regions, dtype=ITEMS["regions"]), pl.Series("safety", safety, dtype=ITEMS["safety"])]


def _times(config: SimulateConfig, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return when each video was published and from when it can be watched, in the order of publication."""
    n = config.items
    new, upcoming = round(config.new_share * n), round(config.upcoming_share * n)
    old = n - new - upcoming
    age = np.minimum(rng.exponential(120.0, old), 1000.0) * DAY + HOUR
    released = config.first + rng.random(new) * config.days * DAY
    announced = config.end - HOUR - rng.random(upcoming) * 14 * DAY
    published = np.concatenate([config.first - age, released, announced]).astype(np.int64)
    # Some programmes are announced days before they can be watched.
    waits = np.where(rng.random(n) < 0.04, rng.random(n) * 7 * DAY, 0.0).astype(np.int64)
    available = published + waits
    available[old + new :] = config.end + (rng.random(upcoming) * 14 * DAY).astype(np.int64) + HOUR
    second = 1_000_000
    published, available = published // second * second, available // second * second
    by_time = np.argsort(published, kind="stable")
    return published[by_time], available[by_time]


def _series(
    channel: NDArray[np.int64], available: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Deal each channel's videos to its series; return series, episode (from 1) and the following episode."""
    n = len(channel)
    count = np.maximum(1, np.bincount(channel)[channel] // 8)
    first = np.concatenate([[0], np.cumsum(np.maximum(1, np.bincount(channel) // 8))])[channel]
    series = first + (rng.random(n) * count).astype(np.int64)
    alone = rng.random(n) < 0.35
    series = np.where(alone, NONE, series)
    by_series = np.lexsort((available, series))
    same = series[by_series][1:] == series[by_series][:-1]
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    episode = np.empty(n, dtype=np.int64)
    episode[by_series] = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n))) + 1
    following = np.full(n, NONE, dtype=np.int64)
    linked = same & (series[by_series][1:] != NONE)
    following[by_series[:-1][linked]] = by_series[1:][linked]
    return series, episode, following


def _topics_of(own: NDArray[np.int64], series: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """``[I]``: a series keeps to one of its channel's two topics (``own`` ``[I, 2]``), mostly the first."""
    n = len(series)
    of_series = rng.random(series.max() + 1 if (series >= 0).any() else 1) < 0.25
    of_item = rng.random(n) < 0.25
    second = np.where(series >= 0, of_series[np.maximum(series, 0)], of_item)
    return np.where(second, own[:, 1], own[:, 0])


def _mixtures(
    main: NDArray[np.int64], second: NDArray[np.int64], n_topics: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    rows = np.arange(len(main))
    out = rng.gamma(0.1, 0.15, (len(main), n_topics))
    out[rows, second] += 0.3 * rng.random(len(main))
    out[rows, main] += 1.0
    # The topics of one category are akin.
    sibling = main // TOPICS_PER_CATEGORY * TOPICS_PER_CATEGORY
    for step in range(TOPICS_PER_CATEGORY):
        out[rows, sibling + step] += 0.2
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True), dtype=np.float32)


def _durations(form: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    astray = rng.random(len(form)) < 0.2
    form = np.where(astray, rng.choice(len(FORMS), size=len(form), p=_FORM_SHARES), form)
    median, sigma = np.array(list(FORMS.values())).T
    seconds = median[form] * np.exp(sigma[form] * rng.normal(size=len(form)))
    return np.asarray(np.clip(np.round(seconds), 4.0, 3600.0), dtype=np.float32)


def _categories(main: NDArray[np.int64], second: NDArray[np.int64], rng: np.random.Generator) -> list[list[str]]:
    both = rng.random(len(main)) < 0.3
    out = []
    for a, b, two in zip(main // TOPICS_PER_CATEGORY, second // TOPICS_PER_CATEGORY, both, strict=True):
        out.append([CATEGORY_NAMES[a], CATEGORY_NAMES[b]] if two and a != b else [CATEGORY_NAMES[a]])
    return out
