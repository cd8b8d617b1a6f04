"""What the parts of the application are called, in Serve's config, in its handles and in a slate's ``degraded``."""

from __future__ import annotations

from typing import Final

APPLICATION: Final = "foveate"
INGRESS: Final = "ingress"
RETRIEVER: Final = "retriever"
RANKER: Final = "ranker"
SHADOW: Final = "shadow"

BUNDLE_KEY: Final = "bundle"
"""The one key of each deployment's ``user_config``: the bundle's folder."""
