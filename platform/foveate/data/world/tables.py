"""Turns what happened in a simulated world into the stored tables: impressions and events."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.schema import EVENTS, IMPRESSIONS, KIND_DTYPE, TIMESTAMP
from foveate.data.world import text
from foveate.data.world.audience import Audience
from foveate.data.world.catalogue import Catalogue
from foveate.data.world.config import SECOND, SimulateConfig
from foveate.data.world.showing import RANDOM, RANDOM_POLICY, RANKED_POLICY, SOURCES

_AFTER = {
    "like": (0.16, 0.004, 1.0),
    "comment": (0.025, 0.012, 20.0),
    "save": (0.03, 0.001, 2.0),
    "share": (0.03, 0.001, 5.0),
    "follow": (0.035, 0.0, 3.0),
    "hide": (0.0, 0.03, 1.0),
}
"""By kind: how often a pleased and a displeased viewer does it after a watch, and how many seconds later."""
_ONCE = {"follow": ("viewer", "channel")}
"""What a viewer does only the first time."""
_HIDES_UNSEEN = 0.004


def number_rows(shown: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by viewer and time, and give each its ids: ``request_id``, ``impression_id``."""
    shown = shown.sort("viewer", "turn", "position")
    request = pl.struct("viewer", "turn").rle_id()
    shown = shown.with_columns(request_id=pl.format("r{}", request.cast(pl.String).str.zfill(7)))
    return shown.with_columns(impression_id=pl.format("{}-{}", "request_id", "position"))


def impressions(shown: pl.DataFrame, catalogue: Catalogue, audience: Audience) -> pl.DataFrame:
    """Return the impressions of numbered rows."""
    random = pl.col("source") == RANDOM
    frame = shown.select(
        "impression_id",
        "request_id",
        user_id=_decode(shown["viewer"], audience.ids),
        item_id=_decode(shown["item"], catalogue.ids),
        position="position",
        surface=pl.when("opens_session").then(pl.lit("home")).otherwise(pl.lit("up_next")),
        shown_at=pl.col("shown_at").cast(TIMESTAMP),
        order=pl.int_range(pl.len()).over("viewer"),
        bundle_id=pl.lit(None),
        policy_id=pl.when(random).then(pl.lit(RANDOM_POLICY)).otherwise(pl.lit(RANKED_POLICY)),
        propensity=pl.when(random).then("propensity"),
        feature_schema=pl.lit(None),
        features=pl.lit(None),
        candidate_sources=_decode(shown["source"], list(SOURCES)).reshape((-1, 1)).cast(pl.List(pl.String)),
    )
    return frame.cast(IMPRESSIONS)  # type: ignore[arg-type]


def events(
    config: SimulateConfig,
    shown: pl.DataFrame,
    catalogue: Catalogue,
    audience: Audience,
    *,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Return what viewers did: what had not happened when the log ended is not in it."""
    opened = shown.filter("clicked").with_columns(delay=pl.lit(0.0))
    opened = opened.with_columns(channel=pl.Series(catalogue.channel[opened["item"].to_numpy()]))
    parts = [
        _of(opened, "click", pl.col("clicked_at")),
        _of(opened, "watch", pl.col("finished_at"), value=pl.col("watched")),
        _of(opened.filter("long_view"), "long_view", pl.col("finished_at")),
    ]
    for kind, (glad, cross, seconds) in _AFTER.items():
        chance = np.where(opened["pleased"].to_numpy(), glad, cross)
        done = opened.filter(rng.random(opened.height) < chance)
        done = done.unique(_ONCE[kind], keep="first", maintain_order=True) if kind in _ONCE else done
        done = done.with_columns(delay=rng.gamma(2.0, seconds / 2.0, done.height))
        parts.append(_of(done, kind, pl.col("finished_at")))
    passed = shown.filter(~pl.col("clicked") & (pl.col("interest") < 0.2))
    passed = passed.filter(rng.random(passed.height) < _HIDES_UNSEEN)
    passed = passed.with_columns(delay=rng.uniform(1.0, 9.0, passed.height))
    parts.append(_of(passed, "hide", pl.col("shown_at")))
    done = pl.concat(parts).filter(pl.col("when") < config.end)
    done = done.sort("viewer", "when", "kind", "impression_id")
    return _finish(done, catalogue, audience, rng)


def _of(rows: pl.DataFrame, kind: str, when: pl.Expr, value: pl.Expr | None = None) -> pl.DataFrame:
    return rows.select(
        "impression_id",
        "viewer",
        "item",
        "pleased",
        kind=pl.lit(kind, dtype=KIND_DTYPE),
        value=(pl.lit(1.0) if value is None else value).cast(pl.Float32),
        when=when + (pl.col("delay") * SECOND).cast(pl.Int64),
    )


def _finish(done: pl.DataFrame, catalogue: Catalogue, audience: Audience, rng: np.random.Generator) -> pl.DataFrame:
    # Phones report within a second or so; a few were off line and do it hours later.
    late = np.where(rng.random(done.height) < 0.01, rng.exponential(7200.0, done.height), 0.0)
    travel = ((late + rng.gamma(2.0, 0.3, done.height)) * SECOND).astype(np.int64)
    frame = done.select(
        event_id=pl.format("e{}", pl.int_range(pl.len()).cast(pl.String).str.zfill(8)),
        impression_id="impression_id",
        user_id=_decode(done["viewer"], audience.ids),
        item_id=_decode(done["item"], catalogue.ids),
        kind="kind",
        value="value",
        text=_source_features(done, catalogue, rng),
        occurred_at=pl.col("when").cast(TIMESTAMP),
        received_at=(pl.col("when") + pl.Series(travel)).cast(TIMESTAMP),
        order=pl.int_range(pl.len()).over("viewer"),
    )
    return frame.cast(EVENTS)  # type: ignore[arg-type]


def _source_features(done: pl.DataFrame, catalogue: Catalogue, rng: np.random.Generator) -> pl.Series:
    at = np.flatnonzero((done["kind"] == "comment").to_numpy())
    item = done["item"].to_numpy()[at]
    about = [catalogue.subject[code] for code in item]
    glad: NDArray[np.bool_] = done["pleased"].to_numpy()[at]
    out: list[str | None] = [None] * done.height
    for row, comment in zip(at, text.comments(glad, catalogue.main_topic[item], about, rng), strict=True):
        out[row] = comment
    return pl.Series(out, dtype=pl.String)


def _decode(codes: pl.Series, ids: list[str]) -> pl.Series:
    return pl.Series(ids, dtype=pl.String).gather(codes.cast(pl.UInt32))
