"""Searchers, which propose settings: one a file."""
