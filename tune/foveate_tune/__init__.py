"""Sweeps with Ray Tune, and long work on a Ray cluster.

``sweep.py`` tells the story of one sweep; ``trial.py`` that of one trial in it; ``remote.py`` runs any function of the
library on a cluster.
"""
