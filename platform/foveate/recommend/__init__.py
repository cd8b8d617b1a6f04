"""One request from start to end: read :mod:`foveate.recommend.pipeline` first."""
