"""From raw files to a dataset folder."""
