"""What the encoder reads beside ids: one input a file."""
