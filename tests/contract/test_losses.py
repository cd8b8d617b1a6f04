"""What every loss promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from costs import LINEAR, TensorCost, grown, tensor_cost
from foveate.attention.base import match
from foveate.core.config import from_dict, to_dict
from foveate.encoder.embedding.lookup import WholeTable
from foveate.encoder.losses.base import Loss, LossConfig
from foveate.encoder.losses.bce import Bce
from foveate.encoder.losses.full_softmax import FullSoftmax
from foveate.encoder.losses.gbce import Gbce
from foveate.encoder.losses.sampled import SampledLossConfig
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
    loss = built(config)(user_TD, TARGETS, WholeTable(item_ID), match)
    assert loss.shape == ()
    loss.backward()
    for tensor in (loss, user_TD.grad, item_ID.grad):
        assert tensor is not None
        assert torch.isfinite(tensor).all()


def test_low_precision_scores_are_summed_in_full(config: LossConfig) -> None:
    user_TD, item_ID = sides()
    exact = built(config)(user_TD, TARGETS, WholeTable(item_ID), match)
    with torch.autocast("cpu", torch.bfloat16):
        low = built(config)(user_TD, TARGETS, WholeTable(item_ID), match)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.02, atol=0.02)


def test_pointing_at_the_target_costs_less(config: LossConfig) -> None:
    # Items at right angles: what points at one says nothing of another.
    item_ID, loss = torch.eye(I), built(config, negatives=I)
    user_TD = torch.randn(T, I, generator=torch.Generator().manual_seed(5))
    far, near = (loss(user, TARGETS, WholeTable(item_ID), match) for user in (user_TD, user_TD + item_ID[TARGETS]))
    assert near < far


def test_a_step_against_the_gradient_helps(config: LossConfig) -> None:
    user_TD, item_ID = sides()
    user_TD.requires_grad_()
    before = built(config, negatives=I)(user_TD, TARGETS, WholeTable(item_ID), match)
    (slope,) = torch.autograd.grad(before, user_TD)
    assert built(config, negatives=I)(user_TD - 0.1 * slope, TARGETS, WholeTable(item_ID), match) < before


def test_one_row_works(config: LossConfig) -> None:
    user_TD, item_ID = sides()
    assert torch.isfinite(built(config)(user_TD[:1], TARGETS[:1], WholeTable(item_ID), match))


def test_a_sample_of_everything_is_the_full_softmax() -> None:
    full = built(FullSoftmax())(*_asked())
    # No target stands against itself, so drawing every item leaves exactly the full softmax.
    torch.testing.assert_close(built(SampledSoftmax(), negatives=I)(*_asked()), full)
    torch.testing.assert_close(built(SampledSoftmax(log_q=True), negatives=I)(*_asked()), full)


def test_the_correction_brings_a_sample_near_the_full_softmax() -> None:
    random = torch.Generator().manual_seed(6)
    user_TD, item_ID = torch.randn(400, 4, generator=random) / 2, torch.randn(500, 4, generator=random)
    target_T = torch.randint(500, (400,), generator=random)
    asked = (user_TD, target_T, WholeTable(item_ID), match)
    full = FullSoftmax().build(torch.ones(500), 1)(*asked)
    plain, corrected = (SampledSoftmax(log_q=q).build(torch.ones(500), 50)(*asked) for q in (False, True))
    assert abs(corrected - full) < 0.1
    assert abs(plain - full) > 1


def test_popular_items_are_drawn_more_often() -> None:
    counts = torch.ones(1000)
    counts[:10] = 1000
    loss = SampledSoftmax(popularity=1.0).build(counts, 20)
    torch.manual_seed(7)
    drawn = torch.cat([loss.draw() for _ in range(20)])
    assert (drawn < 10).sum() > 100


def test_a_catalogue_may_be_longer_than_torch_draws_from(monkeypatch: pytest.MonkeyPatch) -> None:
    few = SampledSoftmax(popularity=1.0).build(torch.arange(1, 40, dtype=torch.float32), 7)
    torch.manual_seed(9)
    expected = few.draw().tolist()
    monkeypatch.setattr("foveate.encoder.losses.sampled._MULTINOMIAL", 10)
    torch.manual_seed(9)
    assert few.draw().tolist() == expected
    monkeypatch.undo()
    counts = torch.ones(2**24 + 9)
    counts[-1000:] = 1e6
    drawn = SampledSoftmax(popularity=1.0).build(counts, 100).draw()
    assert len(drawn.unique()) == 100
    assert (drawn >= len(counts) - 1000).sum() > 90


@pytest.mark.parametrize("cls", [cls for _, cls in LossConfig.variants.items() if issubclass(cls, SampledLossConfig)])
def test_a_target_does_not_stand_against_itself(cls: type[SampledLossConfig]) -> None:
    loss = built(cls(), negatives=I)
    user_TD, target_T, items, _ = _asked()
    item_ID = items.item_ID
    own_T, other_TN, negative_N = loss.contrast(user_TD, target_T, items, match)
    assert negative_N.tolist() == list(range(I))
    torch.testing.assert_close(own_T, match(user_TD, item_ID)[range(T), target_T])
    shut_TN = torch.zeros(T, I, dtype=torch.bool)
    shut_TN[range(T), target_T] = True
    torch.testing.assert_close(other_TN, match(user_TD, item_ID).masked_fill(shut_TN, float("-inf")))
    for negatives in (0, -3):
        with pytest.raises(ValueError, match="negatives of 1 or more"):
            cls().build(torch.ones(I), negatives)


def test_bce_asks_each_item_on_its_own() -> None:
    user_TD, target_T, items, _ = _asked()
    loss = built(Bce(), negatives=I)
    watched_TI = torch.nn.functional.one_hot(target_T, I).float()
    # Drawing every item leaves out the target, which stands there as the positive: the same T x I questions.
    scores_TI = match(user_TD, items.item_ID) + loss.offset
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores_TI, watched_TI)
    torch.testing.assert_close(loss(*_asked()) / I, expected)


@pytest.mark.parametrize("cls", [Bce, Gbce])
def test_at_first_one_of_the_scored_items_is_expected(cls: type[SampledLossConfig]) -> None:
    loss = cls().build(torch.ones(50), 9)
    assert 10 * loss.offset.sigmoid().item() == pytest.approx(1, rel=0.1)


def test_gbce_lies_between_bce_and_true_probabilities() -> None:
    torch.manual_seed(4)
    plain = Bce().build(torch.ones(I), 5)(*_asked())
    torch.manual_seed(4)
    torch.testing.assert_close(Gbce(t=0.0).build(torch.ones(I), 5)(*_asked()), plain)
    # 5 of the 10 other items are drawn: at t = 1 the target counts half.
    assert [Gbce(t=t).beta(I, 5) for t in (0.0, 0.5, 1.0)] == [1.0, 0.75, 0.5]
    assert Gbce(t=1.0).beta(I, 2 * I) == 1.0
    with pytest.raises(ValueError, match="t must lie between 0 and 1"):
        Gbce(t=1.5)


def _asked() -> tuple[Tensor, Tensor, WholeTable, object]:
    user_TD, item_ID = sides()
    return user_TD, TARGETS, WholeTable(item_ID), match


def cost(config: LossConfig, rows: int, items: int) -> TensorCost:
    """What one step takes, the way back included."""
    loss, target_T = config.build(torch.ones(items), 32), torch.zeros(rows, dtype=torch.long)

    def work() -> None:
        user_TD, item_ID = (torch.randn(n, 2 * D, requires_grad=True) for n in (rows, items))
        loss(user_TD, target_T, WholeTable(item_ID), match).backward()

    return tensor_cost(work)


def test_work_grows_with_rows_and_with_items(config: LossConfig) -> None:
    small = cost(config, 64, 128)
    for large in (cost(config, 256, 128), cost(config, 64, 512)):
        found = grown(small, large)
        assert max(found["allocated"], found["flops"]) < LINEAR
        assert found["operations"] < 1.5, "a loop over rows or items"
