"""Item attributes that the item inputs read, kept within the encoder.

Shapes: ``I`` items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.encoder.inputs.base import Bag, ItemInputConfig


@dataclass(frozen=True)
class Content:
    """Facts of the items.

    Parameters
    ----------
    facts
        By the name of the input that reads them.
    trained
        ``[I]`` bool: whether a history holds the item.
    """

    facts: Mapping[str, Bag]
    trained: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: Sequence[ItemInputConfig], catalog: Catalog, counts: NDArray[np.integer]) -> Content:
        """Read a catalogue; ``counts`` is ``[I]``, how often each item stands in a history."""
        return cls({config.name: config.facts(catalog) for config in inputs}, counts > 0)

    @classmethod
    def unknown(cls, inputs: Sequence[ItemInputConfig], n_items: int) -> Content:
        """Return the content of items that nothing is known of."""
        return cls({config.name: Bag.empty(n_items) for config in inputs}, np.ones(n_items, dtype=np.bool_))

    @classmethod
    def stored(cls, inputs: Sequence[ItemInputConfig], arrays: Mapping[str, NDArray[np.generic]]) -> Content:
        """Return the content that an exported encoder carries among its arrays.

        Raises
        ------
        KeyError
            The arrays are of an encoder with other inputs.
        """
        facts = {
            config.name: Bag(
                np.asarray(arrays[f"item_inputs.{config.name}.offsets"], dtype=np.int64),
                np.asarray(arrays[f"item_inputs.{config.name}.codes"], dtype=np.int64),
            )
            for config in inputs
        }
        trained = arrays["trained_I"] if inputs else np.empty(0)
        return cls(facts, np.asarray(trained, dtype=np.bool_))
