"""Cleaning: a pipeline of named steps, one a file, each of which reports what it dropped and mended."""
