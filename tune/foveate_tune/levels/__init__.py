"""One level a file: what a sweep tunes, and what its trials are judged by."""
