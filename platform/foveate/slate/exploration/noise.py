"""Random numbers that are found by name: of a seed, a stream and an item, whatever else is drawn.

So a slate that is made again draws the same, and leaving a rule or a candidate out changes no other candidate's noise.
Source: the finaliser of SplitMix64, Steele, Lea and Flood, Fast splittable pseudorandom number generators (OOPSLA
2014), its function "mix64variant13".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_GOLDEN: Final = 0x9E3779B97F4A7C15
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD: Final = 2**64 - 1


def uniform(seed: int, streams: Sequence[int], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``[S, N]`` numbers above 0 and below 1, one for each code of ``codes`` in each of ``S`` streams."""
    begin_S = np.array([(seed + _GOLDEN * (stream + 1)) & _WORD for stream in streams], dtype=np.uint64)
    words_SN = _mixed(begin_S)[:, None] + (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    numbers_SN = (_mixed(words_SN) >> np.uint64(11)).astype(np.float64)
    numbers_SN += 0.5
    numbers_SN *= 2.0**-53
    return numbers_SN


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each word, in place."""
    for shift, factor in ((np.uint64(30), _FIRST), (np.uint64(27), _SECOND)):
        words ^= words >> shift
        words *= factor
    words ^= words >> np.uint64(31)
    return words
