"""The training loop of an encoder: settings, objective, validation, checkpoints."""
