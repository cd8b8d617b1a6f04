"""The item vectors of a training run: whole in every process, or (``sharded.py``) some rows in each.

Legend of tensor names: ``I`` items, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from foveate.core.errors import ConfigError
from foveate.encoder.embedding.lookup import Lookup, WholeTable
from foveate.encoder.losses.base import LossConfig
from foveate.encoder.model import SequenceEncoder
from foveate.encoder.trained import TrainedEncoder
from foveate.encoder.training.objective import Objective


class Table:
    """The item vectors of a model in training, whole in this process.

    Parameters
    ----------
    model
        The encoder that learns.
    """

    def __init__(self, model: SequenceEncoder) -> None:
        self.model = model

    @property
    def own(self) -> Sequence[nn.Parameter]:
        """Weights that no other process holds: their gradients are whole already."""
        return ()

    def lookup(self) -> Lookup:
        """Return the item vectors as they stand now."""
        return WholeTable(self.model.item_vectors())

    def idle(self, objective: Objective) -> Tensor:
        """Return the loss of a process whose part of a batch is empty: 0, and what others need of it on the way."""
        del objective
        return torch.zeros((), device=self.model.items.weight.device)

    def trained(self, model: SequenceEncoder) -> TrainedEncoder:
        """Return what answers by the weights of ``model``, which is the encoder that learns or an average of it."""
        return TrainedEncoder(model.config, model)

    def whole(self, tensors: Mapping[str, Tensor], names: Sequence[str], *, keep: bool) -> Mapping[str, Tensor]:
        """Return tensors with whole tables in the place of this process's rows; all processes have to call it.

        Parameters
        ----------
        names
            Which of the tensors have a row an item.
        keep
            Whether this process wants them; others only take part.
        """
        del names, keep
        return tensors

    def cut(self, tensors: Mapping[str, Tensor], names: Sequence[str]) -> Mapping[str, Tensor]:
        """Return tensors with this process's rows in the place of whole tables.

        Raises
        ------
        ValueError
            A table is of other items.
        """
        del names
        return tensors


def check_shareable(loss: LossConfig) -> None:
    """Refuse a loss that the processes of a team cannot take where they share the item vectors out.

    Raises
    ------
    ConfigError
        It reads the vector of every item.
    """
    if loss.every_item:
        raise ConfigError(
            f"train.shard_items: the loss '{loss.name}' reads every item's vector, of which no process has all: "
            "take a loss that draws items, such as sampled_softmax, or leave shard_items out"
        )
