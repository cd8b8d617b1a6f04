"""What a bundle does to viewers and creators, and what more diversity would change and cost."""

from __future__ import annotations

from foveate.audit.report import Audit, Group, Point
from foveate.audit.run import STRENGTHS, audit

__all__ = ["STRENGTHS", "Audit", "Group", "Point", "audit"]
