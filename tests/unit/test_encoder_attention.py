"""Where an encoder looked: shares of the events it read, and what its items are known by."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from foveate.attention.base import MixerConfig
from foveate.core.config import from_dict
from foveate.core.errors import TrainingError
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.trained import TrainedEncoder, rollout
from foveate.encoder.training.train import TrainConfig, train_encoder

WINDOW, ITEM_COUNT = 6, 20
LENGTHS = (3, 0, 9, 1, 6)


def histories(lengths: tuple[int, ...] = LENGTHS) -> Histories:
    rng = np.random.default_rng(1)
    return Histories.of([rng.integers(0, ITEM_COUNT, n).astype(np.int32) for n in lengths], ITEM_COUNT)


def encoder_of(**settings: Any) -> TrainedEncoder:
    config = from_dict(EncoderConfig, {"width": 8, "max_len": WINDOW, **settings})
    torch.manual_seed(0)
    model = SequenceEncoder(config, ITEM_COUNT)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return TrainedEncoder(config, model)


@pytest.fixture(params=list(MixerConfig.variants))
def encoder(request: pytest.FixtureRequest) -> TrainedEncoder:
    return encoder_of(mixer=request.param)


def test_shares_of_the_newest_events_sum_to_one(encoder: TrainedEncoder) -> None:
    shares = encoder.attention(histories())
    if shares is None:
        pytest.skip("this mixer does not weigh events")
    assert [len(share) for share in shares] == [min(n, WINDOW) for n in LENGTHS]
    assert all(share.dtype == np.float32 and (share >= 0).all() for share in shares)
    np.testing.assert_allclose([share.sum() for share in shares if len(share)], 1.0, atol=1e-5)


def test_a_batch_looks_as_one_by_one(encoder: TrainedEncoder) -> None:
    together = encoder.attention(histories())
    if together is None:
        pytest.skip("this mixer does not weigh events")
    for user, share in enumerate(together):
        [alone] = encoder.attention(histories().take(np.array([user]))) or []
        np.testing.assert_allclose(share, alone, atol=1e-5)


def test_the_control_looks_at_every_event_alike() -> None:
    [share] = encoder_of(mixer="mean_pool", blocks=1).attention(histories((4,))) or []
    # Half of what comes out of a block came in beside it.
    np.testing.assert_allclose(share, [0.125, 0.125, 0.125, 0.625], atol=1e-6)


def test_attention_weighs_and_recurrence_does_not() -> None:
    assert encoder_of(mixer="multi_head").attention(histories()) is not None
    assert encoder_of(mixer="recurrent").attention(histories()) is None
    assert encoder_of(blocks=0).attention(histories()) is None


def test_no_viewer_and_no_history_have_no_shares() -> None:
    assert encoder_of().attention(histories(())) == []
    assert [share.size for share in encoder_of().attention(histories((0, 0))) or []] == [0, 0]


def test_a_rollout_follows_the_looks_through_the_blocks() -> None:
    first = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    second = torch.tensor([[[[1.0, 0.0], [0.0, 3.0]]]])
    # The second block looks at the newest event alone, which holds half of the first event since the first block.
    torch.testing.assert_close(rollout([first, second]), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(rollout([torch.zeros(1, 2, 2, 2)]), torch.tensor([[0.0, 1.0]]))


@pytest.fixture(scope="module")
def coloured(checkerboard: Any) -> FitContext:
    """The checkerboard with its colours as channels, and one more item of each that nobody has met."""
    known = len(checkerboard.catalog)
    frame = checkerboard.catalog.frame
    newer = frame[:2].with_columns(item_id=pl.Series([f"v{known}", f"v{known + 1}"]))
    codes = np.arange(known + 2)
    channels = pl.Series([f"c{code % 2}" for code in codes])
    catalog = Catalog(pl.concat([frame, newer]).with_columns(channel_id=channels, title=channels + " video"))
    histories = dataclasses.replace(checkerboard.histories, n_items=known + 2)
    return dataclasses.replace(checkerboard.context(), histories=histories, catalog=catalog)


@pytest.mark.parametrize("inputs", [["channel"], ["title"]])
def test_an_item_that_nobody_met_is_ranked_by_what_it_is(coloured: FitContext, inputs: list[str]) -> None:
    config = from_dict(EncoderConfig, {"width": 32, "dropout": 0.1, "inputs": inputs})
    train = TrainConfig(epochs=15, batch_size=32, learning_rate=5e-3, patience=0, threads=1)
    trained = train_encoder(config, train, coloured)
    scores = trained.scores(coloured.histories)
    even, odd = scores[::2, -2:], scores[1::2, -2:]
    assert (even[:, 0] > even[:, 1]).all()
    assert (odd[:, 1] > odd[:, 0]).all()


def test_an_item_that_nobody_met_has_no_vector_of_its_own(coloured: FitContext) -> None:
    config = from_dict(EncoderConfig, {"width": 16, "inputs": ["channel"]})
    trained = train_encoder(config, TrainConfig(epochs=1, threads=1), coloured)
    model = trained.model
    with torch.no_grad():
        added = model.item_inputs["channel"]().numpy()
    np.testing.assert_array_equal(trained.item_vectors[-2:], added[-2:])
    own = trained.item_vectors[:-2] - added[:-2]
    np.testing.assert_allclose(own, model.items.weight.detach().numpy()[:-2], atol=1e-6)
    assert np.abs(model.items.weight.detach().numpy()[-2:]).min() > 0


def test_without_content_every_item_keeps_its_own_vector(coloured: FitContext) -> None:
    trained = train_encoder(EncoderConfig(width=16), TrainConfig(epochs=1, threads=1), coloured)
    np.testing.assert_array_equal(trained.item_vectors, trained.model.items.weight.detach().numpy())


def test_arrays_of_other_inputs_are_refused() -> None:
    arrays = encoder_of(inputs=["channel"]).arrays()
    with pytest.raises(TrainingError, match="of another encoder"):
        TrainedEncoder.restore(EncoderConfig(width=8, max_len=WINDOW), arrays)
    with pytest.raises(TrainingError, match="of another encoder"):
        TrainedEncoder.restore(from_dict(EncoderConfig, {"width": 8, "max_len": WINDOW, "inputs": ["tags"]}), arrays)
