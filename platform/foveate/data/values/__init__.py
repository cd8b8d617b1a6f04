"""Values of raw tables: what each kind of column may hold, and what is refused."""
