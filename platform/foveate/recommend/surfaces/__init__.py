"""Surfaces on which slates are shown: one a file, with its starting point and its sources."""
