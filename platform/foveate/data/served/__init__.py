"""The served log as files: dated parts of what was shown and what followed, and the chain that names them."""
