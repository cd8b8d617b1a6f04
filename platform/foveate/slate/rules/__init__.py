"""Hard and soft rules of a slate: one kind a file, each with the items that it limits and how."""
