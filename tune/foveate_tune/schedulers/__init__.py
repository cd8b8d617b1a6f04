"""One scheduler a file: who may go on training, and who is stopped."""
