"""Forms of titles, channel handles and comments; braces stand for the words of a topic."""

from __future__ import annotations

from typing import Final

SERIES: Final = (
    "{Topic} Diaries",
    "{Topic} from Scratch",
    "{Topic} Sundays",
    "The {topic} files",
    "Honest {topic}",
    "{Topic} School",
    "One-take {topic}",
    "The {topic} challenge",
    "{Topic} Notebook",
    "Midnight {topic}",
    "{Topic} on the Road",
    "Slow {topic}",
    "{Topic} Workshop",
    "Five-minute {topic}",
    "{Topic} with Grandma",
    "The {topic} hour",
    "{Topic} Unplugged",
)

STANDALONE: Final = (
    "{Subject} in {minutes} minutes",
    "The truth about {subject}",
    "I tried {subject} for {m} days",
    "{Subject}: what nobody tells you",
    "Why {subject} is harder than it looks",
    "{n} mistakes with {subject}",
    "{Subject}, explained",
    "A beginner's guide to {subject}",
    "{Subject} gone wrong",
    "We need to talk about {subject}",
    "My honest take on {subject}",
    "{Subject} on a budget",
    "How {subject} changed everything",
    "The best of {subject}",
    "Everything about {subject}",
)

SHORTS: Final = (
    "{Subject}!",
    "POV: {subject}",
    "{Subject} in {seconds} seconds",
    "Wait for it: {subject}",
    "{Subject}, but faster",
    "One tip for {subject}",
    "This is {subject}",
    "{Subject} #{tag}",
)

HANDLES: Final = (
    (
        "quiet",
        "salty",
        "northern",
        "late",
        "tiny",
        "honest",
        "patient",
        "electric",
        "golden",
        "crooked",
        "second",
        "wild",
    ),
    ("corner", "club", "lab", "room", "daily", "stories", "kitchen", "garage", "letters", "studio", "school", "hour"),
)

GLAD: Final = (
    "This made my day",
    "Best video on {subject} so far",
    "Part two please!",
    "Finally someone explains {subject} properly",
    "Watched it twice",
    "Saving this for the weekend",
    "I never knew that about {subject}",
    "More {topic} like this, please",
    "Underrated channel",
    "😍😍",
)

CROSS: Final = (
    "The title promises more than it gives",
    "Too long for what it says",
    "Not what I expected from {subject}",
    "Sound is too quiet",
    "I miss the old videos",
)
