"""The trials of a sweep: how one runs, reports, is stopped, and is remembered."""
