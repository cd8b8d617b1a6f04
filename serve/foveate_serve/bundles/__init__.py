"""The bundles that a replica holds, and what it asks of one before it answers by it."""
