"""The base of all other packages: errors, configuration, registries, messages, metrics."""
