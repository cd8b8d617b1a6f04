"""Two views of a history are the same viewer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from foveate.core.space import Choice, LogUniform, Space
from foveate.encoder.auxiliaries.base import Auxiliary, AuxiliaryConfig, Step
from foveate.encoder.batch import SequenceBatch


class ContrastiveTask(Auxiliary):
    """InfoNCE between the viewers as they were read and as another view reads them.

    A viewer must be nearer to the other view of themselves than to anyone else of the batch, both ways. Sources: Xie et
    al., Contrastive Learning for Sequential Recommendation (CL4SRec, 2022), section 3, for cropped and masked views;
    Qiu et al., Contrastive Learning for Representation Degeneration Problem in Sequential Recommendation (DuoRec,
    2022), section 4, for views by dropout alone.
    """

    def __init__(self, config: Contrastive) -> None:
        super().__init__()
        self.config = config

    def forward(self, step: Step) -> Tensor:
        """Return the mean over the spans and both ways."""
        other = step.batch.keep(self._kept(step.batch))
        a_BD = F.normalize(step.states_BLD[:, -1], dim=-1)
        b_BD = F.normalize(step.model(other, step.items), dim=-1)
        likeness_BB = a_BD @ b_BD.mT / self.config.temperature
        itself_B = torch.arange(len(likeness_BB), device=likeness_BB.device)
        return (F.cross_entropy(likeness_BB, itself_B) + F.cross_entropy(likeness_BB.mT, itself_B)) / 2

    def _kept(self, batch: SequenceBatch) -> Tensor:
        """Return ``[B, L]``: which events the other view holds, one of each span at least."""
        valid_BL = batch.valid_BL
        match self.config.view:
            case "dropout":
                return valid_BL
            case "mask":
                kept_BL = torch.rand(valid_BL.shape, device=valid_BL.device) < self.config.share
                kept_BL[:, -1] = True
                return kept_BL & valid_BL
            case "crop":
                return valid_BL & _stretch(valid_BL, self.config.share)


def _stretch(valid_BL: Tensor, share: float) -> Tensor:
    """Return ``[B, L]``: a stretch of neighbours of each span, of this share of its length, anywhere in it."""
    length_B = valid_BL.sum(dim=1)
    kept_B = (length_B * share).ceil().to(torch.int64)
    first_B = (torch.rand(len(length_B), device=length_B.device) * (length_B - kept_B + 1)).to(torch.int64)
    place_BL = valid_BL.cumsum(dim=1) - 1
    return (place_BL >= first_B[:, None]) & (place_BL < (first_B + kept_B)[:, None])


@dataclass(frozen=True)
class Contrastive(AuxiliaryConfig):
    """Tell each viewer of a batch from the others by a second view of their history; costs a second reading.

    Parameters
    ----------
    view
        What the second view is: the same history under another ``dropout``, a ``crop`` of it, or one where single
        events are left out (``mask``).
    share
        Of the events that a crop or a mask keeps.
    temperature
        Lower is sharper.
    """

    name = "contrastive"

    view: Literal["dropout", "crop", "mask"] = "dropout"
    share: float = 0.7
    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def build(self, width: int) -> ContrastiveTask:
        del width
        return ContrastiveTask(self)

    @classmethod
    def search_space(cls) -> Space:
        return {
            **super().search_space(),
            "view": Choice(("dropout", "crop", "mask")),
            "temperature": LogUniform(0.05, 1.0),
        }
