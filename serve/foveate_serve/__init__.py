"""Serving over HTTP with Ray Serve."""
