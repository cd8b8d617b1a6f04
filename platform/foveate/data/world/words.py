"""The words of the simulated world, from ``words.yaml`` beside this file."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

import yaml

_WORDS: Final[dict[str, Any]] = yaml.safe_load(files(__package__).joinpath("words.yaml").read_text(encoding="utf-8"))

TOPICS: Final[dict[str, dict[str, list[str]]]] = _WORDS["topics"]
"""Topic and subjects by category: every video is about a subject of one topic."""
CATEGORY_NAMES: Final = tuple(TOPICS)
TOPIC_NAMES: Final = tuple(topic for topics in TOPICS.values() for topic in topics)
TOPIC_SUBJECTS: Final = tuple(subjects for topics in TOPICS.values() for subjects in topics.values())
TOPICS_PER_CATEGORY: Final = 3
"""The topic of code ``t`` belongs to the category of code ``t // 3``."""

LANGUAGES: Final[dict[str, dict[str, list[str]]]] = _WORDS["languages"]
"""Titles, episodes and subjects of the videos that are not in English, by language and category."""

TITLES: Final[dict[str, list[str]]] = _WORDS["titles"]
"""Forms of English titles: of a ``series``, ``standalone``, and of ``shorts``."""
COMMENTS: Final[dict[str, list[str]]] = _WORDS["comments"]
"""Forms of comments, by the mood of who writes: ``glad`` or ``cross``."""
HANDLES: Final[dict[str, list[str]]] = _WORDS["handles"]
"""The ``first`` and ``last`` words of channel handles."""
