"""One feature, or one family of columns, a file."""
