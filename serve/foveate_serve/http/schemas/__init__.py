"""HTTP schemas: one noun a file."""
