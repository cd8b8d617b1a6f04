"""Explanations: why an item is in a slate, and why another is not.

An explanation has three parts, each made where its arrays are: attribution to the history (:mod:`.history`, beside the
sources), what ranker, policy and rules made of it (:mod:`.ranking`, beside the ranker), and the words
(:mod:`.sentences`, beside the catalogue). :func:`explain` and :func:`why_not` observe a run of the pipeline and put
them together, in this process (:class:`LocalExplainStages`) or over Ray Serve.
"""

from foveate.recommend.explain.answers import Contribution, HistoryItem, ItemExplanation, Look, SlateExplanation, WhyNot
from foveate.recommend.explain.observed_run import (
    ExplainStages,
    Following,
    LocalExplainStages,
    StageLostError,
    Weighing,
    explain,
    explain_item,
    why_not,
)

__all__ = [
    "Contribution",
    "ExplainStages",
    "Following",
    "HistoryItem",
    "ItemExplanation",
    "LocalExplainStages",
    "Look",
    "SlateExplanation",
    "StageLostError",
    "Weighing",
    "WhyNot",
    "explain",
    "explain_item",
    "why_not",
]
