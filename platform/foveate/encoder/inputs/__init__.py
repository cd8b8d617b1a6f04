"""Inputs of the encoder beside ids: one input a file."""
