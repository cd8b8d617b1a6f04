"""The viewer-video matrix and the interactions behind it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from foveate.data.log import InteractionLog
from foveate.data.matrix import interaction_matrix, interactions
from foveate.data.schema import KIND_DTYPE, TIMESTAMP
from foveate.data.signals import Signals
from foveate.data.vocabulary import Vocabulary

EVENTS = pl.DataFrame(
    {
        "user_id": ["u", "u", "u", "v", "v"],
        "item_id": ["b", "b", "a", "b", "a"],
        "kind": ["watch", "like", "hide", "click", "watch"],
        "value": [9.0, 1.0, 1.0, 1.0, 3.0],
        "occurred_at": [None, 5, 6, 7, 8],
        "order": [0, 1, 2, 0, 1],
    },
    schema_overrides={"kind": KIND_DTYPE, "value": pl.Float32, "occurred_at": TIMESTAMP},
)
SIGNALS = Signals(weights={"watch": 0.5, "like": 2.0, "click": 1.0, "hide": -4.0}, positive=("like", "click"))


def test_weights_of_a_pair_add_up() -> None:
    events = InteractionLog(EVENTS).encode(Vocabulary(["u", "v", "w"]), Vocabulary(["a", "b"]), SIGNALS)
    matrix = interaction_matrix(events)
    assert matrix.toarray().tolist() == [[-4.0, 2.5], [0.5, 1.0], [0.0, 0.0]]
    assert matrix.dtype == np.float32
    assert interaction_matrix(events, positive_only=True).toarray().tolist() == [[0, 2], [0, 1], [0, 0]]


def test_pairs_that_weigh_nothing_are_not_stored() -> None:
    events = InteractionLog(EVENTS).encode(Vocabulary(["u", "v"]), Vocabulary(["a", "b"]), Signals(positive=("like",)))
    assert interaction_matrix(events).nnz == 3  # a default watch weighs 0


def test_interactions_hold_one_row_a_pair() -> None:
    rows = interactions(EVENTS.lazy(), SIGNALS).sort("user_id", "item_id").collect()
    assert rows.select("user_id", "item_id", "events").rows() == [
        ("u", "a", 1),
        ("u", "b", 2),
        ("v", "a", 1),
        ("v", "b", 1),
    ]
    assert rows["weight"].to_list() == pytest.approx([-4.0, 2.5, 0.5, 1.0])
    assert rows["last_at"].dt.timestamp("us").to_list() == [6, 5, 8, 7]
    assert rows["first_order"].to_list() == [2, 0, 1, 0]
