"""Viewers and impressions in one SQLite file."""

from foveate._moved import names_of

__getattr__ = names_of("foveate.state.sqlite", "foveate.state.sqlite.store")
