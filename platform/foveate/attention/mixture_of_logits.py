"""Several matches at once, and a gate that says for each pair which of them counts.

Legend of tensor names: as in :mod:`foveate.attention.base`; ``P`` components (a facet of the viewer with one of the
item), ``K`` items that are kept, ``C`` items that are scored in full.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Scorer, ScorerConfig, check_temperature, log_scale, scale
from foveate.attention.top import Top, best
from foveate.core.space import Choice, LogUniform, Space

_SLACK = 64
"""By how many units in the last place of the largest possible score rounding may lift a mixture over its largest
component."""


class MixtureOfLogitsScorer(Scorer):
    """``sum_p gate_p(u, v) cos(f_p(u), g_p(v)) / temperature``, with gates from a softmax.

    The gates read the viewer, the item, and through a small network the cosines of the pair itself.

    Source: Ding and Zhai, Efficient Retrieval with Learned Similarities (2024), section 2; the search in two passes is
    in the manner of their exact top-k.
    """

    indexable = False

    def __init__(self, width: int, config: MixtureOfLogits) -> None:
        super().__init__()
        self.facets = config.facets
        components = config.facets**2
        self.of_user = nn.Linear(width, width * config.facets)
        self.of_item = nn.Linear(width, width * config.facets)
        self.user_gate = nn.Linear(width, components)
        self.item_gate = nn.Linear(width, components, bias=False)
        self.pair_hidden = nn.Linear(components, config.hidden)
        self.pair_gate = nn.Linear(config.hidden, components, bias=False)
        self.log_scale = log_scale(config.temperature, learned=True)

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        cosine_PBN = self._cosines(user_BD, item_ND)
        mixed_BN: Tensor = (self._gates(user_BD, item_ND, cosine_PBN) * cosine_PBN).sum(dim=0)
        return mixed_BN * scale(self.log_scale)

    def top_k(self, user_BD: Tensor, item_ND: Tensor, k: int, shut_BN: Tensor | None = None) -> Top:
        """Return each viewer's best ``k`` items; what was not scored in full is proven not to be among them.

        The gates are shares of one, so no mixture exceeds its largest component. The ``k`` items with the largest
        components are scored in full; the worst of them is a floor under the answer, and only items whose largest
        component reaches it are scored too. Components are dot products, so the first pass needs no gate. How few the
        second pass scores depends on the gates: sharp ones let few through, even ones nearly all.
        """
        bound_BN = self._cosines(user_BD, item_ND).amax(dim=0) * scale(self.log_scale)
        first = best(bound_BN, k, shut_BN)
        slack = _SLACK * torch.finfo(bound_BN.dtype).eps * scale(self.log_scale)
        floor_B1 = self._in_full(user_BD, item_ND, first.code_BK, k).score_BK[:, -1:] - slack
        reach_BN = bound_BN >= floor_B1 if shut_BN is None else (bound_BN >= floor_B1) & ~shut_BN
        most = max([k, *reach_BN.sum(dim=1).tolist()])
        return self._in_full(user_BD, item_ND, best(bound_BN, most, shut_BN).code_BK, k)

    def _cosines(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        """Return ``[P, B, N]``: components first, so that what is done to each runs over long rows."""
        user_BFD, item_NFD = (
            F.normalize(side.view(*side.shape[:-1], self.facets, user_BD.shape[-1]), dim=-1)
            for side in (self.of_user(user_BD), self.of_item(item_ND))
        )
        if item_ND.dim() == 3:
            return torch.einsum("bfd,bngd->fgbn", user_BFD, item_NFD).flatten(0, 1)
        return (user_BFD.transpose(0, 1)[:, None] @ item_NFD.permute(1, 2, 0)).flatten(0, 1)

    def _gates(self, user_BD: Tensor, item_ND: Tensor, cosine_PBN: Tensor) -> Tensor:
        """Return ``[P, B, N]``: how much each component counts, shares of one."""
        user_PB1 = self.user_gate(user_BD).mT[:, :, None]
        item_PBN = self.item_gate(item_ND if item_ND.dim() == 3 else item_ND[None]).movedim(-1, 0)
        hidden_MBN = F.silu(_across(self.pair_hidden.weight, cosine_PBN) + self.pair_hidden.bias[:, None, None])
        logit_PBN: Tensor = user_PB1 + item_PBN + _across(self.pair_gate.weight, hidden_MBN)
        return logit_PBN.softmax(dim=0)

    def _in_full(self, user_BD: Tensor, item_ND: Tensor, code_BC: Tensor, k: int) -> Top:
        """Return the best ``k`` of each viewer's own items."""
        # In the order of codes, so that ties fall as they do among all items.
        code_BC = code_BC.sort(dim=1).values
        top = best(self(user_BD, item_ND[code_BC.clamp(min=0)]), k, code_BC < 0)
        return Top(code_BC.gather(1, top.code_BK.clamp(min=0)).where(top.code_BK >= 0, top.code_BK), top.score_BK)


def _across(weight_MP: Tensor, x_PBN: Tensor) -> Tensor:
    """Return ``[M, B, N]``: a linear map of the components of every pair."""
    return (weight_MP @ x_PBN.flatten(1)).view(len(weight_MP), *x_PBN.shape[1:])


@dataclass(frozen=True)
class MixtureOfLogits(ScorerConfig):
    """A gated mixture of several cosines of viewer and item: a viewer may have more tastes than one vector holds.

    Parameters
    ----------
    facets
        How many vectors a viewer and an item have each; every facet of one meets every one of the other.
    hidden
        Width of the network that reads a pair's cosines. Memory grows with viewers x items x (``facets`` squared +
        ``hidden``).
    temperature
        Where the learned temperature starts; lower is sharper.
    """

    name = "mixture_of_logits"

    facets: int = 2
    hidden: int = 8
    temperature: float = 0.05

    def __post_init__(self) -> None:
        if min(self.facets, self.hidden) < 1:
            raise ValueError("facets and hidden must be 1 or more")
        check_temperature(self.temperature)

    def build(self, width: int) -> MixtureOfLogitsScorer:
        return MixtureOfLogitsScorer(width, self)

    @classmethod
    def search_space(cls) -> Space:
        return {"facets": Choice((2, 3)), "temperature": LogUniform(0.02, 0.2)}
