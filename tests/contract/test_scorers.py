"""What every scorer and every head promises: they stand in the same place and are asked the same."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from costs import LINEAR, TensorCost, grown, tensor_cost
from foveate.attention.base import Matcher, ScorerConfig
from foveate.attention.mixture_of_logits import MixtureOfLogits
from foveate.attention.top import NO_ITEM, best
from foveate.core.config import from_dict, to_dict
from foveate.encoder.heads.base import HeadConfig
from foveate.encoder.heads.convolutional import Convolutional

B, N, D = 4, 9, 8
CONFIGS = [cls() for base in (ScorerConfig, HeadConfig) for _, cls in base.variants.items()]


@pytest.fixture(params=CONFIGS, ids=lambda config: config.name)
def config(request: pytest.FixtureRequest) -> ScorerConfig | HeadConfig:
    return request.param


@pytest.fixture
def match(config: ScorerConfig | HeadConfig) -> Matcher:
    torch.manual_seed(1)
    return config.build(D)


def sides() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(2)
    return torch.randn(B, D, generator=random), torch.randn(N, D, generator=random)


def test_a_config_survives_the_way_through_plain_values(config: ScorerConfig | HeadConfig) -> None:
    base = ScorerConfig if isinstance(config, ScorerConfig) else HeadConfig
    assert from_dict(base, to_dict(config)) == config


def test_shared_items_score_as_each_viewers_own(match: Matcher) -> None:
    user_BD, item_ND = sides()
    shared = match(user_BD, item_ND)
    assert shared.shape == (B, N)
    torch.testing.assert_close(match(user_BD, item_ND.expand(B, N, D)), shared)


def test_a_pair_scores_as_in_a_crowd(match: Matcher) -> None:
    user_BD, item_ND = sides()
    crowd = match(user_BD, item_ND)
    torch.testing.assert_close(match(user_BD[1:2], item_ND[3:4])[0, 0], crowd[1, 3])


def test_the_viewer_and_the_item_matter(match: Matcher) -> None:
    scores = match(*sides())
    assert scores.std(dim=0).min() > 1e-4
    assert scores.std(dim=1).min() > 1e-4


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_scores_and_gradients_are_finite(match: Matcher, scale: float) -> None:
    user_BD, item_ND = ((side * scale).requires_grad_() for side in sides())
    scores = match(user_BD, item_ND)
    assert torch.isfinite(scores).all()
    scores.square().sum().backward()
    for tensor in (user_BD, item_ND, *match.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def test_matchers_differ_from_one_another() -> None:
    answers = {}
    for matcher in CONFIGS:
        built = matcher.build(D)
        torch.manual_seed(3)
        for weight in built.parameters():
            torch.nn.init.normal_(weight, std=0.5)
        answers[type(matcher)] = built(*sides())
    for a, b in itertools.combinations(answers, 2):
        assert not torch.allclose(answers[a], answers[b], atol=1e-3), f"{a.name} answers as {b.name}"


def test_what_is_indexable_is_a_dot_product_of_vectors() -> None:
    random = torch.Generator().manual_seed(2)
    user_BD, item_ND = torch.randn(40, D, generator=random), torch.randn(40, D, generator=random)
    for name, cls in ScorerConfig.variants.items():
        torch.manual_seed(1)
        scorer = cls().build(D)
        rank = torch.linalg.matrix_rank(scorer(user_BD, item_ND), rtol=1e-5)
        assert (rank <= D) == scorer.indexable, name
        if scorer.indexable:
            users, items = scorer.as_dot(user_BD, item_ND)
            torch.testing.assert_close(users @ items.T, scorer(user_BD, item_ND))


def test_an_item_that_is_not_a_number_spoils_no_other(match: Matcher) -> None:
    user_BD, item_ND = sides()
    expected = match(user_BD, item_ND)
    item_ND[4] = float("nan")
    scores, others = match(user_BD, item_ND), torch.arange(N) != 4
    assert scores[:, 4].isnan().all()
    torch.testing.assert_close(scores[:, others], expected[:, others])
    top = match.top_k(user_BD, item_ND, N)
    assert (top.code_BK != 4).all()
    assert (top.code_BK[:, -1] == NO_ITEM).all()


def test_the_top_is_that_of_a_full_ranking(match: Matcher) -> None:
    user_BD, item_ND = sides()
    shut_BN = torch.rand(B, N, generator=torch.Generator().manual_seed(6)) < 0.5
    shut_BN[3] = True
    score_BN = match(user_BD, item_ND)
    for shut, k in itertools.product((None, shut_BN), (1, 3, N, N + 5)):
        code_BK, found_BK = match.top_k(user_BD, item_ND, k, shut)
        assert code_BK.shape == found_BK.shape == (B, min(k, N))
        for row in range(B):
            barred = shut[row].tolist() if shut is not None else [False] * N
            order = sorted((-score_BN[row, code].item(), code) for code in range(N) if not barred[code])[:k]
            codes = [code for _, code in order]
            missing = min(k, N) - len(codes)
            assert code_BK[row].tolist() == codes + [NO_ITEM] * missing
            torch.testing.assert_close(found_BK[row, : len(codes)], score_BN[row, codes])


def test_no_viewer_and_no_item_have_an_empty_top(match: Matcher) -> None:
    user_BD, item_ND = sides()
    assert match.top_k(user_BD[:0], item_ND, 3).code_BK.shape == (0, 3)
    assert match.top_k(user_BD, item_ND[:0], 3).code_BK.shape == (B, 0)
    with pytest.raises(ValueError, match="k must be 1 or more"):
        match.top_k(user_BD, item_ND, 0)


def test_ties_go_by_code() -> None:
    score_BN = torch.tensor([[1.0, 3.0, 1.0, 3.0, 1.0, float("inf"), float("nan"), float("-inf")]])
    assert best(score_BN, 4).code_BK.tolist() == [[5, 1, 3, 0]]
    assert best(score_BN, 8).code_BK.tolist() == [[5, 1, 3, 0, 2, 4, NO_ITEM, NO_ITEM]]
    assert best(score_BN, 2, torch.tensor([[False] * 5 + [True] + [False] * 2])).code_BK.tolist() == [[1, 3]]


def awkward_items(kind: str) -> Tensor:
    item_ND = torch.randn(300, D)
    few_ND = item_ND[torch.randint(5, (300,))]
    near_ND = item_ND[:1] + 1e-4 * item_ND
    return {"any": item_ND, "few that repeat": few_ND, "nearly alike": near_ND}[kind].double()


@pytest.mark.parametrize("items", ["any", "few that repeat", "nearly alike"])
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
def test_a_mixture_finds_its_top_whatever_its_gates_do(items: str, sharpness: float) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        scorer = MixtureOfLogits().build(D).double()
        with torch.no_grad():
            # Sharp gates often shut the largest component out, so that the bound is far off.
            for gate in (scorer.user_gate, scorer.item_gate, scorer.pair_hidden):
                gate.weight.mul_(sharpness)
            user_BD, item_ND, shut_BN = torch.randn(6, D).double(), awkward_items(items), torch.rand(6, 300) < 0.3
            found, expected = scorer.top_k(user_BD, item_ND, 20, shut_BN), scorer(user_BD, item_ND)
        expected = expected.masked_fill(shut_BN, float("-inf"))
        # Items that are the same to the last bit need not score so: a product rounds by where it stands.
        torch.testing.assert_close(found.score_BK, expected.topk(20).values, rtol=0, atol=1e-9)
        torch.testing.assert_close(expected.gather(1, found.code_BK), found.score_BK, rtol=0, atol=1e-9)
        assert all(len(set(codes)) == 20 for codes in found.code_BK.tolist())


def test_a_mixture_breaks_ties_by_code() -> None:
    scorer = MixtureOfLogits().build(D)
    axes = torch.eye(D)
    with torch.no_grad():
        # Every vector lies on an axis and every gate is open alike: scores are 0, 1/4 or 1/2 to the last bit.
        for weight in scorer.parameters():
            weight.zero_()
        scorer.of_user.weight.copy_(torch.cat((axes, axes.roll(1, dims=0))))
        scorer.of_item.weight.copy_(torch.cat((axes, axes.roll(2, dims=0))))
        torch.manual_seed(3)
        user_BD, item_ND = axes[torch.randint(D, (6,))], axes[torch.randint(D, (300,))]
        shut_BN = torch.rand(6, 300) < 0.3
        assert len(scorer(user_BD, item_ND).unique()) > 1
        for k in (1, 20, 200, 300):
            found, expected = scorer.top_k(user_BD, item_ND, k, shut_BN), best(scorer(user_BD, item_ND), k, shut_BN)
            assert torch.equal(found.code_BK, expected.code_BK)


def test_a_mixture_leaves_most_of_a_catalogue_to_its_bound() -> None:
    torch.manual_seed(1)
    scorer = MixtureOfLogits().build(D)
    for layer in (scorer.pair_hidden, scorer.pair_gate):
        torch.nn.init.eye_(layer.weight).data.mul_(5)  # the closest facets count most
    scored: list[int] = []
    scorer.register_forward_hook(lambda _, inputs, __: scored.append(inputs[1].shape[-2]))
    with torch.no_grad():
        scorer.top_k(torch.randn(1, D), torch.randn(5000, D), 10)
    assert sum(scored) < 500


def test_bilinear_starts_as_the_dot_product() -> None:
    user_BD, item_ND = sides()
    torch.testing.assert_close(ScorerConfig.variants["bilinear"]().build(D)(user_BD, item_ND), user_BD @ item_ND.T)


def test_a_recurrent_head_reads_the_viewer_and_then_the_item() -> None:
    user_BD, item_ND = sides()
    head = HeadConfig.variants["recurrent"]().build(D)
    for row, column in itertools.product(range(B), range(N)):
        state = head.cell(item_ND[column], head.cell(user_BD[row]))
        expected = head.out(state)[0] + user_BD[row] @ item_ND[column]
        torch.testing.assert_close(head(user_BD, item_ND)[row, column], expected)


@pytest.mark.parametrize("stretches", [1, 3, 4, 50])
def test_a_convolutional_head_convolves_viewer_item_and_product(stretches: int) -> None:
    user_BD, item_ND = sides()
    head = Convolutional(stretches=stretches).build(D)
    filters = torch.stack([side.weight for side in (head.of_user, head.of_item, head.of_product)], dim=1)
    for row, column in itertools.product(range(B), range(N)):
        u, v = user_BD[row], item_ND[column]
        rows = F.pad(torch.stack((u, v, u * v)), (0, head.step * head.stretches - D))
        hidden_FS = F.conv1d(rows, filters, head.of_user.bias, stride=head.step).relu()
        torch.testing.assert_close(head(user_BD, item_ND)[row, column], head.out(hidden_FS.T.flatten())[0] + u @ v)


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


def cost(config: ScorerConfig | HeadConfig, viewers: int, items: int) -> TensorCost:
    """What it takes to score every pair, and to learn from that."""
    built = config.build(2 * D)

    def work() -> None:
        scores = built(torch.randn(viewers, 2 * D, requires_grad=True), torch.randn(items, 2 * D, requires_grad=True))
        scores.sum().backward()

    return tensor_cost(work)


def test_work_grows_with_viewers_and_with_items(config: ScorerConfig | HeadConfig) -> None:
    small = cost(config, 32, 64)
    for large in (cost(config, 128, 64), cost(config, 32, 256)):
        found = grown(small, large)
        assert max(found["allocated"], found["flops"]) < LINEAR
        assert found["operations"] < 1.5, "a loop over viewers or items"
