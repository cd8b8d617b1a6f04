"""Translation of the pipeline's answers into HTTP schemas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from foveate.core.config import to_dict
from foveate.core.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.recommend.explain import ItemExplanation, SlateExplanation, WhyNot
from foveate.recommend.surfaces.base import Surface
from foveate.served_log.erase import Certificate
from foveate.state.base import impression_id
from foveate_serve.bundles.slots import Status
from foveate_serve.http.problems import without_paths
from foveate_serve.http.schemas.base import from_micros
from foveate_serve.http.schemas.explain import ExplanationOut, WhyNotOut
from foveate_serve.http.schemas.health import PartOut, ReadyOut, place_mark
from foveate_serve.http.schemas.slates import ItemOut, SlateItemOut, SlateOut, SurfaceOut, SurfacesOut
from foveate_serve.http.schemas.viewers import ErasureOut


def ready_out(parts: Sequence[Status]) -> ReadyOut:
    """Say whether every replica holds a bundle that the ingress, the first of ``parts``, can ask by."""
    ingress = parts[0]
    askable = {ingress.bundle_id, ingress.previous} - {None}
    shared = [bool(askable & {part.bundle_id, part.previous}) for part in parts]
    return ReadyOut(
        ready=all(shared),
        bundle_id=ingress.bundle_id,
        parts=[_part(part) for part in parts],
    )


def _part(part: Status) -> PartOut:
    """Build what strangers may read: no path, and no address of a store."""
    problem_text = None if part.problem is None else without_paths(part.problem)
    asked = None if part.asked is None else place_mark(part.asked)
    return PartOut(**{**asdict(part), "problem": problem_text, "asked": asked})


def erasure_out(certificate: Certificate) -> ErasureOut:
    """Say what came of an erasure, without paths and addresses."""
    content = to_dict(certificate)
    for one in (*content["stores"], *content["exports"]):
        one["remainder"] = without_paths(one["remainder"])
    for one in content["stores"]:
        one["place"] = without_paths(one["place"])
    return ErasureOut.model_validate(
        {**content, "erased_at": from_micros(certificate.erased_at), "done": certificate.done}
    )


def item_out(row: dict[str, Any], *, withdrawn: bool) -> ItemOut:
    """Build an item from a row of the catalogue."""
    fields = {name: row[name] for name in ItemOut.model_fields if name in row}
    fields |= {"categories": row["categories"] or [], "tags": row["tags"] or [], "withdrawn": withdrawn}
    return ItemOut(**fields)


def surfaces_out() -> SurfacesOut:
    """List the surfaces."""
    return SurfacesOut(
        surfaces=[
            SurfaceOut(
                name=name,
                about=kind.about(),
                needs=list(kind.needs),
                takes=list(kind.takes),
                ranked=kind.ranked,
                diversified=kind.diversified,
                explained=kind.explained,
            )
            for name, kind in Surface.variants.items()
        ]
    )


def slate_out(
    request: RecommendRequest,
    context: RequestContext,
    slate: Slate,
    shown: Sequence[tuple[str | None, str | None]],
    *,
    explained: SlateExplanation | None = None,
    note: str | None = None,
    cursor: str | None = None,
    took_ms: float = 0.0,
) -> SlateOut:
    """Build the answer.

    Parameters
    ----------
    shown
        Title and channel of each item of the slate.
    note
        Why there are no items, if there are none.
    cursor
        Of the next page.
    took_ms
        Milliseconds that it took.
    """
    explanations = [explanation_out(one) for one in explained.items] if explained else [None] * len(slate.items)
    return SlateOut(
        request_id=slate.request_id,
        user_id=slate.user_id or None,
        surface=context.surface,
        bundle_id=slate.bundle_id,
        policy_id=slate.policy_id,
        feature_schema=slate.feature_schema,
        state_version=slate.state_version,
        cold=slate.is_cold(request),
        now=from_micros(context.now),
        seed=context.seed,
        degraded=list(slate.degraded),
        explored=[position + 1 for position in slate.explored],
        relaxed=list(slate.relaxed),
        relevance_paid=slate.relevance_paid,
        took_ms=round(took_ms, 3),
        items=[_slate_item(slate.request_id, *one) for one in zip(slate.items, shown, explanations, strict=True)],
        note=note,
        cursor=cursor,
    )


def explanation_out(item: ItemExplanation) -> ExplanationOut:
    """Build an explanation; what the slate says of the item already is left out."""
    plain = {**to_dict(item), "ranker_rank": item.rank}
    return ExplanationOut.model_validate({name: plain[name] for name in ExplanationOut.model_fields})


def why_not_out(answer: WhyNot, request_id: str, user_id: str | None, bundle_id: str) -> WhyNotOut:
    """Build the answer."""
    score = answer.score if answer.score is not None and math.isfinite(answer.score) else None
    rank = None if answer.position is None else answer.position + 1
    plain = {**to_dict(answer), "score": score, "ranker_rank": answer.rank, "rank": rank}
    return WhyNotOut.model_validate({**plain, "request_id": request_id, "user_id": user_id, "bundle_id": bundle_id})


def _slate_item(
    request_id: str, item: SlateItem, shown: tuple[str | None, str | None], explanation: ExplanationOut | None
) -> SlateItemOut:
    title, channel_id = shown
    return SlateItemOut(
        item_id=item.item_id,
        impression_id=impression_id(request_id, item.position),
        rank=item.position + 1,
        score=item.score if math.isfinite(item.score) else None,
        source=item.sources[0] if item.sources else None,
        sources=list(item.sources),
        policy=item.policy,
        propensity=item.propensity,
        title=title,
        channel_id=channel_id,
        explanation=explanation,
    )
