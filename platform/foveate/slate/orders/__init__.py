"""By what a viewer's candidates are put in order before the slate is chosen: one order a file."""
