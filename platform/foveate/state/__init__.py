"""Viewers' state: the Protocols, and stores in a SQLite file or on a Redis server."""
