"""Titles, channel handles, tags and comments, made of the words of :mod:`foveate.data.world.words`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveate.data.world.words import (
    CATEGORY_NAMES,
    COMMENTS,
    HANDLES,
    LANGUAGES,
    TITLES,
    TOPIC_NAMES,
    TOPIC_SUBJECTS,
    TOPICS_PER_CATEGORY,
)

SHORT_SECONDS = 61.0
"""Videos up to here bear the titles of shorts."""


def handles(topic: NDArray[np.int64], rng: np.random.Generator) -> list[str]:
    """Return a distinct handle for each channel, given its main topic ``[C]``."""
    firsts, lasts = HANDLES["first"], HANDLES["last"]
    draws = rng.random((len(topic), 3))
    taken: dict[str, int] = {}
    out = []
    for code, (a, b, style) in zip(topic.tolist(), draws.tolist(), strict=True):
        first, last = firsts[int(a * len(firsts))], lasts[int(b * len(lasts))]
        word = TOPIC_NAMES[code].split()[0]
        handle = f"{first}-{word}" if style < 0.4 else f"{word}-{last}" if style < 0.8 else f"{first}-{last}"
        taken[handle] = taken.get(handle, 0) + 1
        out.append(handle if taken[handle] == 1 else f"{handle}-{taken[handle]}")
    return out


def subjects(topic: NDArray[np.int64], language: list[str], rng: np.random.Generator) -> list[str]:
    """Return what each video is about, given its topic ``[I]`` and language."""
    draws = rng.random(len(topic)).tolist()
    out = []
    for code, tongue, draw in zip(topic.tolist(), language, draws, strict=True):
        words = TOPIC_SUBJECTS[code]
        if tongue in LANGUAGES:
            words = LANGUAGES[tongue][CATEGORY_NAMES[code // TOPICS_PER_CATEGORY]]
        out.append(words[int(draw * len(words))])
    return out


def titles(
    subject: list[str],
    topic: NDArray[np.int64],
    language: list[str],
    *,
    seconds: NDArray[np.float32],
    series: NDArray[np.int64],
    episode: NDArray[np.int64],
    rng: np.random.Generator,
) -> list[str]:
    """Return a title for each video; ``series`` is -1 for one that stands alone, ``episode`` counts from 1."""
    draws = rng.random((len(subject), 3)).tolist()
    rows = zip(
        subject, topic.tolist(), language, seconds.tolist(), series.tolist(), episode.tolist(), draws, strict=True
    )
    out = []
    for about, code, tongue, length, of, number, (pick, count, other) in rows:
        if of >= 0:
            out.append(_episode(about, code, tongue, of, number))
            continue
        forms = TITLES["standalone" if length > SHORT_SECONDS else "shorts"]
        forms = LANGUAGES[tongue]["titles"] if tongue in LANGUAGES else forms
        out.append(
            forms[int(pick * len(forms))].format(
                subject=about,
                Subject=_capital(about),
                tag=TOPIC_NAMES[code].replace(" ", ""),
                minutes=max(2, round(length / 60)),
                seconds=max(5, round(length)),
                n=3 + int(count * 8),
                m=(7, 30, 100)[int(other * 3)],
            )
        )
    return out


def tags(subject: list[str], topic: NDArray[np.int64], shorts: NDArray[np.bool_], extra: list[str]) -> list[list[str]]:
    """Return the tags of each video: its topic, its subject, its form and one word of its own."""
    rows = zip(subject, topic.tolist(), shorts.tolist(), extra, strict=True)
    return [
        list(dict.fromkeys([TOPIC_NAMES[code], _bare(about), *(["shorts"] if short else []), _bare(more)]))
        for about, code, short, more in rows
    ]


def comments(
    glad: NDArray[np.bool_], topic: NDArray[np.int64], about: list[str], rng: np.random.Generator
) -> list[str]:
    """Return what viewers write below videos that did or did not please them (``glad`` ``[N]``)."""
    draws = rng.random(len(about)).tolist()
    out = []
    for pleased, code, subject, draw in zip(glad.tolist(), topic.tolist(), about, draws, strict=True):
        forms = COMMENTS["glad" if pleased else "cross"]
        out.append(forms[int(draw * len(forms))].format(subject=subject, topic=TOPIC_NAMES[code]))
    return out


def _episode(about: str, topic: int, language: str, series: int, number: int) -> str:
    if language in LANGUAGES:
        words = LANGUAGES[language][CATEGORY_NAMES[topic // TOPICS_PER_CATEGORY]]
        return LANGUAGES[language]["episodes"][0].format(subject=_capital(words[series % len(words)]), number=number)
    name = TITLES["series"][series % len(TITLES["series"])].format(
        topic=TOPIC_NAMES[topic], Topic=_capital(TOPIC_NAMES[topic])
    )
    return f"{name} #{number}: {about}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bare(text: str) -> str:
    return text.removeprefix("the ").removeprefix("a ").removeprefix("an ").lower()
