"""From raw logs to validated tables: schema, readers, cleaning, vocabularies, splits, and a simulated world."""
