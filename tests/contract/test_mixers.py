"""What every mixer promises, asked of each one that the registry holds."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.config import from_dict, to_dict
from foveate.space import Choice

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


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="no multiple of heads 3"):
        MIXERS["multi_head"](heads=3).build(D, L)
