"""Viewers and impressions in Redis."""

from foveate._moved import names_of

__getattr__ = names_of("foveate.state.redis", "foveate.state.redis.store")
