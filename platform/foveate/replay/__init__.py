"""Made again: a served slate from its request, and a log's slates beside what was served."""

from foveate._moved import names_of

__getattr__ = names_of("foveate.replay", "foveate.replay.served")
