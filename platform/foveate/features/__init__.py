"""Ranker features: each defined once in ``defs/`` and used by training and serving alike."""
