"""Item vectors: whole, memory-mapped, or sharded over processes."""
