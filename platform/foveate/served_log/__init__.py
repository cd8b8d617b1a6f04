"""What was served as data: exported from the store, part by part, and erased from store and exports alike."""

from __future__ import annotations

from foveate.served_log.erase import Certificate, erase_viewer
from foveate.served_log.export import Exported, export_log

__all__ = ["Certificate", "Exported", "erase_viewer", "export_log"]
