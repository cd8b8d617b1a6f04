"""What every scorer and every head promises: they stand in the same place and are asked the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from foveate.attention.base import ScorerConfig
from foveate.config import from_dict, to_dict
from foveate.encoder.heads.base import HeadConfig

B, N, D = 4, 9, 8
CONFIGS = [cls() for base in (ScorerConfig, HeadConfig) for _, cls in base.variants.items()]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.name)
def config(request: pytest.FixtureRequest) -> ScorerConfig | HeadConfig:
    return request.param


@pytest.fixture
def match(config: ScorerConfig | HeadConfig) -> nn.Module:
    torch.manual_seed(1)
    return config.build(D)


def sides() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(2)
    return torch.randn(B, D, generator=random), torch.randn(N, D, generator=random)


def test_a_config_survives_the_way_through_plain_values(config: ScorerConfig | HeadConfig) -> None:
    base = ScorerConfig if isinstance(config, ScorerConfig) else HeadConfig
    assert from_dict(base, to_dict(config)) == config


def test_shared_items_score_as_each_viewers_own(match: nn.Module) -> None:
    user_BD, item_ND = sides()
    shared = match(user_BD, item_ND)
    assert shared.shape == (B, N)
    torch.testing.assert_close(match(user_BD, item_ND.expand(B, N, D)), shared)


def test_a_pair_scores_as_in_a_crowd(match: nn.Module) -> None:
    user_BD, item_ND = sides()
    crowd = match(user_BD, item_ND)
    torch.testing.assert_close(match(user_BD[1:2], item_ND[3:4])[0, 0], crowd[1, 3])


def test_the_viewer_and_the_item_matter(match: nn.Module) -> None:
    scores = match(*sides())
    assert scores.std(dim=0).min() > 1e-4
    assert scores.std(dim=1).min() > 1e-4


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_scores_and_gradients_are_finite(match: nn.Module, scale: float) -> None:
    user_BD, item_ND = ((side * scale).requires_grad_() for side in sides())
    scores = match(user_BD, item_ND)
    assert torch.isfinite(scores).all()
    scores.square().sum().backward()
    for tensor in (user_BD, item_ND, *match.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_cosine_sees_directions_alone() -> None:
    user_BD, item_ND = sides()
    cosine = ScorerConfig.variants["cosine"]().build(D)
    torch.testing.assert_close(cosine(user_BD * 3, item_ND * 7), cosine(user_BD, item_ND))
    # A vector with itself is 1, over the temperature of 0.05.
    torch.testing.assert_close(cosine(user_BD, user_BD).diagonal(), torch.full((B,), 20.0))


def test_dot_product_is_the_dot_product() -> None:
    user_BD, item_ND = sides()
    expected = (user_BD[:, None] * item_ND).sum(dim=-1)
    torch.testing.assert_close(ScorerConfig.variants["dot_product"]().build(D)(user_BD, item_ND), expected)
