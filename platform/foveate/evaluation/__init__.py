"""Baselines, blend, two-stage and slate side by side on a window that no training saw.

Every item is ranked, what the viewer has met is left out before the top is taken, score ties stand at mid-rank, and
every figure carries a bootstrap interval over viewers.
"""

from __future__ import annotations

from foveate.evaluation.asking import Asking
from foveate.evaluation.report import Caps, Comparison, Evaluation, Row
from foveate.evaluation.run import evaluate, evaluate_folder

__all__ = ["Asking", "Caps", "Comparison", "Evaluation", "Row", "evaluate", "evaluate_folder"]
