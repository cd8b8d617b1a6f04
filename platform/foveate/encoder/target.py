"""Target attention: what a candidate finds in a history when it is the one that looks.

Shapes: ``N`` candidates, ``L`` events, ``D`` width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def target_attention(candidate_ND: NDArray[np.float32], event_LD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``[N]``: each candidate against the history as the candidate itself would weigh it.

    The candidate ``v`` weighs the events ``h`` by the softmax of ``v . h / sqrt(D)``, and is matched with their
    weighted sum. An encoder reads a history once for all candidates; here one event that is much like the candidate is
    enough. A history without events answers 0. Source: Zhou et al., Deep Interest Network (2018), section 4.3, with
    the softmax that they leave out.
    """
    if not len(event_LD):
        return np.zeros(len(candidate_ND), dtype=np.float32)
    match_NL = candidate_ND @ event_LD.T
    logit_NL = match_NL / np.sqrt(event_LD.shape[1])
    weight_NL = np.exp(logit_NL - logit_NL.max(axis=1, keepdims=True))
    # A weighted sum of events against the candidate is the weighted sum of the matches.
    return np.asarray((weight_NL * match_NL).sum(axis=1) / weight_NL.sum(axis=1), dtype=np.float32)
