"""The stages of a request as replicas: batched, guarded, and what stands in for one that is lost."""
