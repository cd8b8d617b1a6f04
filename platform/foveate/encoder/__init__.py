"""Turns a sequence of events into a viewer vector: batches, the model, heads, losses and training."""
