"""What everything else is written with: errors, configuration, registries, messages, metrics."""
