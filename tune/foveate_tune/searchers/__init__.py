"""How settings are proposed: one searcher a file."""
