"""Trackers of a sweep's figures beside its folder: Weights & Biases, TensorBoard."""

from foveate._moved import names_of

__getattr__ = names_of("foveate_tune.tracking", "foveate_tune.tracking.wandb")
