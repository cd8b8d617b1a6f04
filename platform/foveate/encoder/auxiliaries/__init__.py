"""What an encoder may learn beside the next item: one task a file."""
