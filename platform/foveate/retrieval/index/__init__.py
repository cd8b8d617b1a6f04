"""How the nearest items are found where scoring every one of them takes too long: one way a file."""
