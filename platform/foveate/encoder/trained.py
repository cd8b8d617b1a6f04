"""A trained encoder at work: histories in, viewer vectors and scores of every item out.

Shapes: ``B`` viewers, ``I`` items, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveate.encoder.batch import EventArrays, newest_spans
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.errors import TrainingError

_BATCH = 256
"""Histories encoded together, so that a large batch of queries needs no more memory than this many."""

_SCORED = 64
"""Viewers scored together: a head holds its hidden layer for each of them and every item."""


class TrainedEncoder:
    """An encoder that only answers.

    Parameters
    ----------
    config
        What it is made of.
    model
        Its weights; they are not to be changed any more.
    best_epoch
        After how many epochs these weights stood; 0 where that is not known.
    """

    def __init__(self, config: EncoderConfig, model: SequenceEncoder, best_epoch: int = 0) -> None:
        self.config = config
        self.model = model.eval()
        self.best_epoch = best_epoch
        self._device = model.items.weight.device

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """``[I, D]`` float32."""
        return _to_numpy(self.model.items.weight)

    @torch.inference_mode()
    def encode(self, histories: Sequence[NDArray[np.int32]], times: Sequence[NDArray[np.int64]]) -> Tensor:
        """Return ``[B, D]`` viewer vectors, zero for a viewer without a history.

        Parameters
        ----------
        histories, times
            Each viewer's item codes and UTC microseconds, oldest first; only the newest ``max_len`` are read.
        """
        user_BD = torch.zeros(len(histories), self.config.width, device=self._device)
        some = [row for row, items in enumerate(histories) if len(items)]
        # Like lengths side by side leave little padding.
        some.sort(key=lambda row: len(histories[row]))
        for start in range(0, len(some), _BATCH):
            rows = some[start : start + _BATCH]
            user_BD[rows] = self._encode([histories[r] for r in rows], [times[r] for r in rows])
        return user_BD

    @torch.inference_mode()
    def scores(self, histories: Sequence[NDArray[np.int32]], times: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return ``[B, I]`` scores of every item; a viewer without a history finds all items alike."""
        user_BD, item_ID = self.encode(histories, times), self.model.items.weight
        scores_BI = np.empty((len(histories), len(item_ID)), dtype=np.float32)
        for start in range(0, len(histories), _SCORED):
            part = slice(start, start + _SCORED)
            scores_BI[part] = _to_numpy(self.model.score(user_BD[part], item_ID))
        scores_BI[np.array([len(items) == 0 for items in histories], dtype=bool)] = 0.0
        return scores_BI

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return every weight by its name."""
        return {name: _to_numpy(value) for name, value in self.model.state_dict().items()}

    @classmethod
    def restore(cls, config: EncoderConfig, arrays: Mapping[str, NDArray[np.generic]]) -> TrainedEncoder:
        """Make the encoder again from its config and :meth:`arrays`.

        Raises
        ------
        TrainingError
            The arrays are of an encoder with another config.
        """
        model = SequenceEncoder(config, n_items=len(arrays["items.weight"]))
        try:
            model.load_state_dict({name: torch.tensor(value) for name, value in arrays.items()})
        except RuntimeError as error:
            raise TrainingError(f"these weights are of another encoder: {' '.join(str(error).split())}") from error
        return cls(config, model)

    def _encode(self, histories: list[NDArray[np.int32]], times: list[NDArray[np.int64]]) -> Tensor:
        newest = [items[-self.config.max_len :] for items in histories]
        offsets = torch.tensor(np.cumsum([0, *map(len, newest)]), device=self._device)
        items_N = torch.tensor(np.concatenate(newest), dtype=torch.int64, device=self._device)
        clock = np.concatenate([when[-self.config.max_len :] for when in times])
        times_N = torch.tensor(clock, dtype=torch.int64, device=self._device)
        batch = EventArrays(items_N, times_N).batch(newest_spans(offsets, self.config.max_len))
        vectors: Tensor = self.model(batch)
        return vectors


def _to_numpy(value: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(value.detach().cpu().numpy())
