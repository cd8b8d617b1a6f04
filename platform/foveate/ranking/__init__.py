"""The second stage: the LightGBM ranker and the set it is trained on."""
