"""Schemas of explanations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from foveate_serve.http.schemas.base import Reply


class HistoryItemOut(Reply):
    """One item of the viewer's history that carried an item of the slate."""

    item_id: str
    title: str | None
    drop: float = Field(description="What it adds to the source's score.")
    share: float = Field(description="The same as a share of all that the history adds.")


class LookOut(Reply):
    """Where the encoder looked, not why."""

    item_id: str
    title: str | None
    share: float = Field(description="Share of the encoder's attention.")


class ContributionOut(Reply):
    """What one feature adds to the ranker's score."""

    feature: str
    value: float


class ExplanationOut(Reply):
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
    ranker_rank: int = Field(description="Place by the ranker's score alone, from 1.")
    moved_by: list[str] = Field(description="What brought it into the slate, if the ranker alone would not have.")


class WhyNotOut(Reply):
    """Where an item fell on its way to a viewer's slate."""

    request_id: str
    user_id: str | None
    bundle_id: str
    item_id: str
    title: str | None
    where: Literal["unknown", "filtered", "not_retrieved", "ranked", "displaced", "shown"]
    sentence: str
    by: list[str] = Field(description="The filters that shut it out, or what displaced it.")
    source_ranks: dict[str, int] = Field(description="Its place from 1 by each source, among all that are open.")
    candidates: int | None = Field(description="How many the ranker ordered.")
    ranker_rank: int | None = Field(description="Its place from 1 by the ranker's score alone.")
    score: float | None = Field(description="The ranker's; null where it was not asked or not finite.")
    rank: int | None = Field(description="Its place in the slate from 1, where it is shown.")
    instead: str | None = Field(description="The item that stands in its place, where it was displaced.")
