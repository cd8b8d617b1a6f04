"""What a viewer has done and been shown: the Protocols, and stores that keep it in a file or on a Redis server."""
