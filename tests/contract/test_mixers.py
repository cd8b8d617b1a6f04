"""What every mixer promises, asked of each one that the registry holds."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from costs import LINEAR, TensorCost, grown, tensor_cost
from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.attention.convolutional import Convolutional
from foveate.attention.filtered import running_mean
from foveate.attention.linear import Linear, attend_in_chunks, pair_weights
from foveate.attention.multi_head import MultiHead
from foveate.attention.pointwise import Pointwise, gap_buckets
from foveate.attention.recurrent import Recurrent
from foveate.attention.self_attention import SelfAttention
from foveate.core.config import from_dict, to_dict
from foveate.core.messages import NO_TIME
from foveate.core.space import Choice

B, L, D = 3, 7, 8
MIXERS = dict(MixerConfig.variants.items())


def configs() -> list[MixerConfig]:
    """Each mixer with its defaults, and with each choice of its search space."""
    found = []
    for cls in MIXERS.values():
        choices = {k: d.values for k, d in cls.search_space().items() if isinstance(d, Choice)}
        changes = itertools.chain([{}], ({k: v} for k, values in choices.items() for v in values))
        found += [dataclasses.replace(cls(), **change) for change in changes]
    return found


@pytest.fixture(params=configs(), ids=lambda config: str(to_dict(config)))
def config(request: pytest.FixtureRequest) -> MixerConfig:
    return request.param


@pytest.fixture
def mixer(config: MixerConfig) -> Mixer:
    torch.manual_seed(1)
    return config.build(D, 2 * L).eval()


def vectors(batch: int = B, length: int = L) -> Tensor:
    return torch.randn(batch, length, D, generator=torch.Generator().manual_seed(2))


def context(valid_BL: Tensor, **changes: Any) -> SequenceContext:
    zeros = torch.zeros_like(valid_BL, dtype=torch.long)
    return SequenceContext(valid_BL, zeros, zeros, **changes)


def full(batch: int = B, length: int = L, **changes: Any) -> SequenceContext:
    return context(torch.ones(batch, length, dtype=torch.bool), **changes)


def test_a_config_survives_the_way_through_plain_values(config: MixerConfig) -> None:
    assert from_dict(MixerConfig, to_dict(config)) == config


def test_the_answer_has_the_shape_of_the_question(mixer: Mixer) -> None:
    y_BLD, weights = mixer(vectors(), full())
    assert y_BLD.shape == (B, L, D)
    assert torch.isfinite(y_BLD).all()
    assert weights is None


@pytest.mark.parametrize("cut", range(1, L))
def test_the_future_does_not_change_the_past(mixer: Mixer, cut: int) -> None:
    x_BLD = vectors()
    changed_BLD = x_BLD.clone()
    changed_BLD[:, cut:] = 5 * vectors(B, L - cut)
    before, after = (mixer(x, full())[0] for x in (x_BLD, changed_BLD))
    torch.testing.assert_close(before[:, :cut], after[:, :cut])
    assert not torch.allclose(before[:, -1], after[:, -1])


def test_the_past_does_change_the_future(mixer: Mixer) -> None:
    x_BLD = vectors()
    changed_BLD = x_BLD.clone()
    changed_BLD[:, 0] = 5
    before, after = (mixer(x, full())[0] for x in (x_BLD, changed_BLD))
    assert not torch.allclose(before[:, -1], after[:, -1])


@pytest.mark.parametrize("padding", [1, 5])
def test_padding_on_the_left_changes_nothing(mixer: Mixer, padding: int) -> None:
    x_BLD = vectors()
    noise = torch.full((B, padding, D), 3.0)
    valid_BL = torch.cat((torch.zeros(B, padding, dtype=torch.bool), torch.ones(B, L, dtype=torch.bool)), dim=1)
    padded, _ = mixer(torch.cat((noise, x_BLD), dim=1), context(valid_BL))
    torch.testing.assert_close(padded[:, padding:], mixer(x_BLD, full())[0], atol=1e-5, rtol=1e-4)
    assert torch.isfinite(padded).all()


def test_the_promise_of_no_padding_changes_nothing(mixer: Mixer) -> None:
    quick, slow = (mixer(vectors(), full(padded=padded))[0] for padded in (False, True))
    torch.testing.assert_close(quick, slow, atol=1e-5, rtol=1e-4)


def test_weights_are_shares_of_the_past_and_change_nothing(mixer: Mixer) -> None:
    y_BLD, weights = mixer(vectors(), full(want_weights=True))
    torch.testing.assert_close(y_BLD, mixer(vectors(), full())[0], atol=1e-5, rtol=1e-4)
    if weights is not None:
        assert weights.shape[0] == B
        assert weights.shape[2:] == (L, L)
        assert (weights >= 0).all()
        assert not weights.triu(1).any()


def test_one_event_and_a_batch_of_one_work(mixer: Mixer) -> None:
    y_BLD, _ = mixer(vectors(1, 1), full(1, 1))
    assert y_BLD.shape == (1, 1, D)
    assert torch.isfinite(y_BLD).all()


def test_gradients_are_finite_and_reach_every_weight(mixer: Mixer) -> None:
    valid_BL = torch.ones(B, L, dtype=torch.bool)
    valid_BL[0, :3] = False
    y_BLD, _ = mixer.train()(vectors(), context(valid_BL))
    y_BLD[valid_BL].square().sum().backward()
    for name, weight in mixer.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_mixers_differ_from_one_another() -> None:
    answers = {}
    for name, cls in MIXERS.items():
        built = cls().build(D, L).eval()
        torch.manual_seed(3)
        for weight in built.parameters():
            torch.nn.init.normal_(weight, std=0.5)
        answers[name] = built(vectors(), full())[0]
    for a, b in itertools.combinations(answers, 2):
        assert not torch.allclose(answers[a], answers[b], atol=1e-3), f"{a} answers as {b}"


@pytest.mark.parametrize("cls", [cls for cls in MIXERS.values() if "heads" in vars(cls())])
def test_heads_that_do_not_divide_the_width_are_refused(cls: Any) -> None:
    with pytest.raises(ValueError, match="no multiple of heads 3"):
        cls(heads=3).build(D, L)
    with pytest.raises(ValueError, match="heads must be 1 or more"):
        cls(heads=0)


def test_a_viewer_is_answered_as_if_alone(mixer: Mixer) -> None:
    x_BLD, valid_BL = vectors(), torch.ones(B, L, dtype=torch.bool)
    valid_BL[0, :4] = False
    x_BLD[2] = float("nan")
    together, _ = mixer(x_BLD, context(valid_BL))
    for viewer in (0, 1):
        alone, _ = mixer(x_BLD[viewer : viewer + 1], context(valid_BL[viewer : viewer + 1]))
        seen_L = valid_BL[viewer]
        torch.testing.assert_close(together[viewer, seen_L], alone[0, seen_L], atol=1e-5, rtol=1e-4)
    # What is not a number is passed on, never hidden: a loss made of it ends the training.
    assert together[2].isnan().any()


@pytest.mark.parametrize("length", [63, 64, 65, 150])
def test_long_histories_keep_to_the_contract(length: int, defaults: Mixer) -> None:
    x_BLD = vectors(2, length)
    whole, weights = defaults(x_BLD, full(2, length, want_weights=True))
    start, _ = defaults(x_BLD[:, :50], full(2, 50))
    torch.testing.assert_close(whole[:, :50], start, atol=1e-5, rtol=1e-4)
    valid_BL = torch.ones(2, length, dtype=torch.bool)
    valid_BL[:, : length - 40] = False
    padded, _ = defaults(x_BLD, context(valid_BL))
    torch.testing.assert_close(padded[:, -40:], defaults(x_BLD[:, -40:], full(2, 40))[0], atol=1e-5, rtol=1e-4)
    if weights is not None:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


@pytest.fixture(params=list(MIXERS))
def defaults(request: pytest.FixtureRequest) -> Mixer:
    torch.manual_seed(1)
    return MIXERS[request.param]().build(D, 200).eval()


@pytest.mark.parametrize(
    "times", [[NO_TIME] * L, [NO_TIME, 5, 4, NO_TIME, 9, 9, 10**17], [0] * L, [-(10**16), *[0] * 6]]
)
def test_times_of_any_kind_have_a_finite_answer(mixer: Mixer, times: list[int]) -> None:
    asked = dataclasses.replace(full(), times_BL=torch.tensor([times] * B))
    assert torch.isfinite(mixer(vectors(), asked)[0]).all()


def with_steps(seconds: int) -> SequenceContext:
    return dataclasses.replace(full(), times_BL=torch.arange(L).expand(B, L) * seconds * 1_000_000)


def test_times_matter_to_pointwise_attention_and_to_no_attention_without_them() -> None:
    for config in configs():
        built = config.build(D, L).eval()
        hours, days = (built(vectors(), with_steps(seconds))[0] for seconds in (3_600, 86_400))
        assert torch.allclose(hours, days) != getattr(config, "times", False)


def test_unknown_times_have_no_bias() -> None:
    torch.manual_seed(1)
    timed, timeless = Pointwise().build(D, L), Pointwise(times=False).build(D, L)
    timeless.load_state_dict({k: v for k, v in timed.state_dict().items() if not k.startswith("gap")})
    undated = dataclasses.replace(full(), times_BL=torch.full((B, L), NO_TIME))
    torch.testing.assert_close(timed(vectors(), undated)[0], timeless(vectors(), full())[0])


def test_gaps_fall_in_buckets_of_half_powers_of_two() -> None:
    second = 1_000_000
    buckets_LL = gap_buckets(torch.tensor([[NO_TIME, 0, second, 15 * second, 10**9 * second * 9]]))[0]
    assert buckets_LL[0].tolist() == buckets_LL[:, 0].tolist() == [0] * 5
    assert buckets_LL[4].tolist() == [0, 64, 64, 64, 1]
    assert buckets_LL[3].tolist() == [0, 9, 8, 1, 1]
    assert buckets_LL[1].tolist() == [0, 1, 1, 1, 1]


def test_linear_attention_is_the_sum_over_every_pair() -> None:
    torch.manual_seed(1)
    q, k, v = torch.rand(2, 3, 150, 4), torch.rand(2, 3, 150, 4), torch.randn(2, 3, 150, 4)
    rate = torch.tensor([0.0, 0.01, 2.0])
    torch.testing.assert_close(attend_in_chunks(q, k, v, rate), pair_weights(q, k, rate) @ v, atol=1e-5, rtol=1e-4)


def test_order_matters_to_linear_attention() -> None:
    mixer, x_BLD = Linear().build(D, L), vectors()
    swapped_BLD = x_BLD[:, [1, 0, *range(2, L)]]
    assert not torch.allclose(mixer(x_BLD, full())[0][:, -1], mixer(swapped_BLD, full())[0][:, -1], atol=1e-4)


def test_padding_never_enters_a_state() -> None:
    mixer, x_BLD = Recurrent().build(D, L), vectors()
    valid_BL = torch.arange(L) >= torch.tensor([[0], [3], [6]])
    y_BLD, _ = mixer(x_BLD, context(valid_BL))
    for row, padding in enumerate((0, 3, 6)):
        states, _ = mixer.gru(x_BLD[row, padding:])
        torch.testing.assert_close(y_BLD[row, padding:], mixer.out(states))


def test_a_convolution_reads_as_far_as_it_says() -> None:
    x_BLD = vectors(1, 40).requires_grad_()
    y_BLD, _ = Convolutional(kernel=3, layers=3).build(D, 40)(x_BLD, full(1, 40))
    (slope_BLD,) = torch.autograd.grad(y_BLD[0, -1].sum(), x_BLD)
    assert slope_BLD[0].abs().sum(dim=-1).nonzero()[:, 0].tolist() == list(range(40 - 15, 40))


def test_a_running_mean_leaves_padding_out() -> None:
    x_BLD, valid_BL = vectors(1), torch.arange(L)[None] >= 2
    found = running_mean(x_BLD, valid_BL, 3)
    torch.testing.assert_close(found[0, 2], x_BLD[0, 2])
    torch.testing.assert_close(found[0, 3], x_BLD[0, 2:4].mean(dim=0))
    torch.testing.assert_close(found[0, 6], x_BLD[0, 4:7].mean(dim=0))


def test_one_head_of_many_is_the_single_head_kind() -> None:
    single, many = SelfAttention().build(D, L), MultiHead(heads=1).build(D, L)
    many.load_state_dict(single.state_dict())
    torch.testing.assert_close(many(vectors(), full())[0], single(vectors(), full())[0])


def cost(config: MixerConfig, length: int, width: int) -> TensorCost:
    """What it takes to mix two histories, one of them padded, and to learn from them."""
    built, valid_BL = config.build(width, length), torch.ones(2, length, dtype=torch.bool)
    valid_BL[0, : length // 3] = False

    def work() -> None:
        y_BLD, _ = built(torch.randn(2, length, width, requires_grad=True), context(valid_BL))
        y_BLD.sum().backward()

    return tensor_cost(work)


def width_times_pairs(config: MixerConfig) -> float:
    """How many times as much the width takes up in a history of four times the length: 4 where no pair has it."""
    took = {(length, width): cost(config, length, width).allocated for length in (64, 256) for width in (16, 64)}
    return (took[256, 64] - took[256, 16]) / (took[64, 64] - took[64, 16])


def test_a_pair_of_events_may_have_a_weight_and_never_a_vector(config: MixerConfig) -> None:
    assert width_times_pairs(config) < LINEAR


def test_work_grows_at_most_with_the_pairs_of_events(config: MixerConfig) -> None:
    found = grown(cost(config, 64, 16), cost(config, 256, 16))
    assert max(found["allocated"], found["flops"]) < 4 * LINEAR
    assert found["operations"] < LINEAR, "a loop over all pairs"


class EveryPair(Mixer):
    """Holds a vector of each pair of events."""

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        length = x_BLD.shape[1]
        pairs_BLLD = x_BLD[:, :, None] * x_BLD[:, None]
        return (pairs_BLLD * torch.ones(length, length).tril()[None, :, :, None]).sum(dim=2), None


class OneByOne(Mixer):
    """Holds what one event reads at a time, which takes as long."""

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        rows = [(x_BLD[:, : end + 1] * x_BLD[:, end : end + 1]).sum(dim=1) for end in range(x_BLD.shape[1])]
        return torch.stack(rows, dim=1), None


@pytest.mark.parametrize("kind", [EveryPair, OneByOne])
def test_a_vector_of_each_pair_is_noticed(kind: type[Mixer]) -> None:
    class Wasteful(MixerConfig):
        def build(self, width: int, max_len: int) -> Mixer:
            return kind()

    assert width_times_pairs(Wasteful()) > LINEAR
