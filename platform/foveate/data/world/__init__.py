"""A believable simulated world of viewers and videos, with its ground truth."""
