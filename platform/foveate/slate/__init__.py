"""From ranked candidates to a slate: one diversity policy a file, and the constraints that every policy obeys."""
