"""An encoder whose items stay in the file that they lie in, and the encoder of a run of items.

Shapes: ``B`` viewers, ``I`` items, ``N`` some of them, ``R`` the items of a run, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveate.encoder.content import Content
from foveate.encoder.embedding.lookup import JoinedTable, Lookup
from foveate.encoder.inputs.base import ItemInputConfig
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.trained import TrainedEncoder

_ITEMS: Final = "items.weight"
_OF_ITEMS: Final = (_ITEMS, "trained_I", "trend.log_IH")
"""The arrays that have a row an item."""
_FACTS: Final = "item_inputs."
"""Begins the names of what the item inputs know: of each item, how many codes, and which."""
_ROWS: Final = 65_536
"""Items that are scored at once, so that no second table of all of them is made."""


class MappedEncoder(TrainedEncoder):
    """Answers as any trained encoder does, and reads the rows of few items where they lie: in memory or in a file.

    Nothing is worked out for all items beforehand, so that scores of every item take longer. Only an encoder with item
    inputs keeps a table of its own, for their sums lie in no file.
    """

    _appended_ND: Tensor | None = None

    def _append(self, vector_ND: Tensor) -> None:
        # Those of the file stay there.
        self._appended_ND = vector_ND

    @torch.inference_mode()
    def own_dots(self) -> Tensor:
        """Return ``[I, D]``, in memory: the items' side of the dot product that stands for the score."""
        return self._dots().clone()

    @classmethod
    def _laid_out(cls, config: EncoderConfig, arrays: Mapping[str, NDArray[np.generic]]) -> SequenceEncoder:
        content = Content.stored(config.inputs_of(ItemInputConfig), arrays)
        # Weights without values, for those of the arrays to take their place as they are.
        with torch.device("meta"):
            model = SequenceEncoder(config, len(arrays[_ITEMS]), content)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()}, assign=True)
        return model

    def _matched(self, user_BD: Tensor, codes: Tensor | slice) -> Tensor:
        """Return ``[B, N]``: scores of some items, a few of them at a time."""
        parts = torch.split(self._rows(codes), _ROWS)
        scores_BN = torch.cat([self.model.score(user_BD, item_ND) for item_ND in parts], dim=1)
        return self._trusted(self._plus_trend(scores_BN, user_BD, codes), codes)

    @property
    def _table(self) -> Lookup:
        own = self._appended_ND
        return super()._table if own is None else JoinedTable(self._item_ID, own)

    def _rows(self, codes: Tensor | slice) -> Tensor:
        if self._appended_ND is None:
            return self._item_ID[codes]
        return self._table.every()[codes] if isinstance(codes, slice) else self._table.of(codes)


def of_run(arrays: Mapping[str, NDArray[np.generic]], codes: range) -> dict[str, NDArray[np.generic]]:
    """Return an encoder's arrays as if there were no other items than those of ``codes``, a run of item codes.

    Parameters
    ----------
    arrays
        What :meth:`TrainedEncoder.arrays` returned.
    """
    run = slice(codes.start, codes.stop)
    own = {**arrays, **{name: arrays[name][run] for name in _OF_ITEMS if name in arrays}}
    for name in [name for name in arrays if name.startswith(_FACTS) and name.endswith(".offsets")]:
        offsets: NDArray[np.generic] = arrays[name][codes.start : codes.stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        listed = name.removesuffix("offsets") + "codes"
        own |= {name: offsets - offsets[0], listed: arrays[listed][first:last]}
    return own
