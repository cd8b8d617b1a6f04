"""The effect of a bundle on viewers and creators, and the gain and cost of more diversity."""

from __future__ import annotations

from foveate.audit.report import Audit, Group, Point
from foveate.audit.run import STRENGTHS, audit

__all__ = ["STRENGTHS", "Audit", "Group", "Point", "audit"]
