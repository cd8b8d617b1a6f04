"""What a viewer has done and been shown: the Protocols, and a store that keeps them in one SQLite file."""
