"""Approximate nearest neighbours, for catalogues too large to score whole: one index a file."""
