"""One reader of raw logs a file."""
