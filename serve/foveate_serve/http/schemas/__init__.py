"""What goes over HTTP: one file a noun."""
