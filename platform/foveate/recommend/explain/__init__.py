"""Why an item stands in a slate, and why another does not.

An explanation has three parts, each made where its arrays are: what carried the item (:mod:`.history`, beside the
sources), what ranker, policy and rules made of it (:mod:`.ranking`, beside the ranker), and the words
(:mod:`.sentences`, beside the catalogue). :func:`explain` and :func:`why_not` put them together in the order of a
request, in this process (:class:`LocalExplainStages`) or over Ray Serve.
"""

from foveate.recommend.explain.answers import Contribution, HistoryItem, ItemExplanation, Look, SlateExplanation, WhyNot
from foveate.recommend.explain.slate import explain, explain_item
from foveate.recommend.explain.stages import ExplainStages, LocalExplainStages
from foveate.recommend.explain.why_not import why_not

__all__ = [
    "Contribution",
    "ExplainStages",
    "HistoryItem",
    "ItemExplanation",
    "LocalExplainStages",
    "Look",
    "SlateExplanation",
    "WhyNot",
    "explain",
    "explain_item",
    "why_not",
]
