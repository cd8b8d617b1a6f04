"""Candidate sources: one a file. Each proposes a few items for a viewer; their union goes to the ranker."""
