"""What every loss promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foveate.attention.base import match
from foveate.config import from_dict, to_dict
from foveate.encoder.losses.base import Loss, LossConfig
from foveate.encoder.losses.full_softmax import FullSoftmax
from foveate.encoder.losses.sampled_softmax import SampledSoftmax

T, I, D = 6, 11, 8  # noqa: E741 - the house's letter for items
TARGETS = torch.tensor([0, 3, 3, 10, 7, 1])


@pytest.fixture(params=[cls() for _, cls in LossConfig.variants.items()], ids=lambda config: config.name)
def config(request: pytest.FixtureRequest) -> LossConfig:
    return request.param


def built(config: LossConfig, negatives: int = 5) -> Loss:
    torch.manual_seed(4)
    return config.build(torch.arange(I, dtype=torch.float32), negatives)


def sides() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    return torch.randn(T, D, generator=random), torch.randn(I, D, generator=random)


def test_a_config_survives_the_way_through_plain_values(config: LossConfig) -> None:
    assert from_dict(LossConfig, to_dict(config)) == config


def test_a_loss_is_one_finite_number_with_finite_gradients(config: LossConfig) -> None:
    user_TD, item_ID = (side.requires_grad_() for side in sides())
    loss = built(config)(user_TD, TARGETS, item_ID, match)
    assert loss.shape == ()
    loss.backward()
    for tensor in (loss, user_TD.grad, item_ID.grad):
        assert tensor is not None
        assert torch.isfinite(tensor).all()


def test_pointing_at_the_target_costs_less(config: LossConfig) -> None:
    user_TD, item_ID = sides()
    loss = built(config, negatives=I)
    far, near = loss(user_TD, TARGETS, item_ID, match), loss(user_TD + item_ID[TARGETS], TARGETS, item_ID, match)
    assert near < far


def test_a_step_against_the_gradient_helps(config: LossConfig) -> None:
    user_TD, item_ID = sides()
    user_TD.requires_grad_()
    before = built(config, negatives=I)(user_TD, TARGETS, item_ID, match)
    (slope,) = torch.autograd.grad(before, user_TD)
    assert built(config, negatives=I)(user_TD - 0.1 * slope, TARGETS, item_ID, match) < before


def test_one_row_works(config: LossConfig) -> None:
    user_TD, item_ID = sides()
    assert torch.isfinite(built(config)(user_TD[:1], TARGETS[:1], item_ID, match))


def test_a_sample_of_everything_is_the_full_softmax() -> None:
    full = built(FullSoftmax())(*_asked())
    # No target stands against itself, so drawing every item leaves exactly the full softmax.
    torch.testing.assert_close(built(SampledSoftmax(), negatives=I)(*_asked()), full)
    torch.testing.assert_close(built(SampledSoftmax(log_q=True), negatives=I)(*_asked()), full)


def test_the_correction_brings_a_sample_near_the_full_softmax() -> None:
    random = torch.Generator().manual_seed(6)
    user_TD, item_ID = torch.randn(400, 4, generator=random) / 2, torch.randn(500, 4, generator=random)
    target_T = torch.randint(500, (400,), generator=random)
    asked = (user_TD, target_T, item_ID, match)
    full = FullSoftmax().build(torch.ones(500), 1)(*asked)
    plain, corrected = (SampledSoftmax(log_q=q).build(torch.ones(500), 50)(*asked) for q in (False, True))
    assert abs(corrected - full) < 0.1
    assert abs(plain - full) > 1


def test_popular_items_are_drawn_more_often() -> None:
    counts = torch.ones(1000)
    counts[:10] = 1000
    loss = SampledSoftmax(popularity=1.0).build(counts, 20)
    torch.manual_seed(7)
    drawn = torch.cat([loss._draw() for _ in range(20)])
    assert (drawn < 10).sum() > 100


def _asked() -> tuple[Tensor, Tensor, Tensor, object]:
    user_TD, item_ID = sides()
    return user_TD, TARGETS, item_ID, match
