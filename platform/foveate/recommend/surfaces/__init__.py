"""Where slates are shown: one surface a file, each of which says what it starts from and who takes part."""
