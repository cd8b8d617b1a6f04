"""Auxiliary tasks of an encoder, beside the next item: one task a file."""
