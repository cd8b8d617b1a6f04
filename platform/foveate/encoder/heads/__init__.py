"""Interest predictors between a viewer vector and an item vector: one a file."""
