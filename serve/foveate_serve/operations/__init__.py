"""A running server from outside: its cluster, its sizes, and the registry that it follows."""
