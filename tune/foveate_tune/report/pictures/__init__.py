"""One picture a file: each says what there is to see, in words too."""
