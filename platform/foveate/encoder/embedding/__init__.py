"""Where item vectors lie: whole, in a file, or sharded over processes."""
