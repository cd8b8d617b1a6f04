"""What goes over HTTP of explanations."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from foveate.config import to_dict
from foveate.explain import ItemExplanation, WhyNot
from foveate_serve.wire_base import Wire


class HistoryItemOut(Wire):
    """One item of the viewer's history that carried an item of the slate."""

    item_id: str
    title: str | None
    drop: float = Field(description="What it adds to the source's score.")
    share: float = Field(description="The same as a share of all that the history adds.")


class LookOut(Wire):
    """Where the encoder looked, not why."""

    item_id: str
    title: str | None
    share: float = Field(description="Share of the encoder's attention.")


class ContributionOut(Wire):
    """What one feature adds to the ranker's score."""

    feature: str
    value: float


class ExplanationOut(Wire):
    """Why an item stands in a slate."""

    sentence: str
    carried_by: str | None = Field(description="The source whose score 'history' tells of.")
    history: list[HistoryItemOut]
    faithfulness: float | None = Field(
        description="How often taking as many random items out of the history lowers the source's score less than "
        "taking out those that are named: 0.5 is chance; null where the history is too short to tell."
    )
    attention: list[LookOut]
    attention_faithfulness: float | None = Field(description="The same of where the encoder looked.")
    base: float = Field(description="What every score starts from; with all contributions and others, the score.")
    contributions: list[ContributionOut]
    others: float
    rank: int = Field(description="Place by the ranker's score alone, from 1.")
    moved_by: list[str] = Field(description="What brought it into the slate, if the ranker alone would not have.")


class WhyNotOut(Wire):
    """Where an item fell on its way to a viewer's slate."""

    request_id: str
    user_id: str
    bundle_id: str
    item_id: str
    title: str | None
    where: Literal["unknown", "filtered", "not_retrieved", "ranked", "displaced", "shown"]
    sentence: str
    by: list[str] = Field(description="The filters that shut it out, or what displaced it.")
    source_ranks: dict[str, int] = Field(description="Its place from 1 by each source, among all that are open.")
    candidates: int | None = Field(description="How many the ranker ordered.")
    rank: int | None
    score: float | None = Field(description="The ranker's; null where it was not asked or not finite.")
    position: int | None = Field(description="Its place from 0, where it is shown.")
    instead: str | None = Field(description="The item that stands in its place, where it was displaced.")


def explanation_out(item: ItemExplanation) -> ExplanationOut:
    """Build an explanation; what the slate says of the item already is left out."""
    plain = to_dict(item)
    return ExplanationOut.model_validate({name: plain[name] for name in ExplanationOut.model_fields})


def why_not_out(answer: WhyNot, request_id: str, user_id: str, bundle_id: str) -> WhyNotOut:
    """Build the answer."""
    score = answer.score if answer.score is not None and math.isfinite(answer.score) else None
    plain = {**to_dict(answer), "score": score}
    return WhyNotOut.model_validate({**plain, "request_id": request_id, "user_id": user_id, "bundle_id": bundle_id})
