"""A trained encoder at work: histories in, viewer vectors and scores of every item out.

Shapes: ``B`` viewers, ``L`` positions, ``H`` heads, ``I`` items, ``N`` some of them,
``D`` width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from foveate.attention.base import match
from foveate.core.errors import TrainingError
from foveate.data.events import Histories
from foveate.encoder.batch import EventArrays, SequenceBatch, newest_spans
from foveate.encoder.content import Content
from foveate.encoder.embedding.lookup import Lookup, WholeTable
from foveate.encoder.inputs.base import ItemInputConfig
from foveate.encoder.model import EncoderConfig, SequenceEncoder

_BATCH = 256
"""Histories encoded together, so that a large batch of queries needs no more memory than this many."""

_SCORED = 64
"""Viewers scored together: a head holds its hidden layer for each of them and every item."""

_WEIGHTS = 4_000_000
"""Weights of one head and block that are held at once."""

_CHECKED = 1_000_000
"""Numbers that are looked at together for one that is not finite."""


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
        self.device = model.items.weight.device
        self._timed = bool(model.timed)
        self._known: int | None = None
        self._trust, self._offset = 1.0, 0.0

    @cached_property
    def item_vectors(self) -> NDArray[np.float32]:
        """``[I, D]`` float32: what the encoder knows each item by."""
        return _to_numpy(self._table.every())

    @torch.inference_mode()
    def vectors_of(self, items: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return ``[N, D]``: what the encoder knows some items by."""
        return _to_numpy(self._table.of(torch.from_numpy(items).long().to(self.device)))

    @property
    def knows_newcomers(self) -> bool:
        """Whether items differ to a viewer without a history."""
        return self.model.trend is not None

    @property
    def indexable(self) -> bool:
        """Whether dot products of :attr:`item_dots` and :meth:`user_dots` are the scores."""
        return self.model.match.indexable

    @cached_property
    def item_dots(self) -> NDArray[np.float32]:
        """``[I, D]`` float32: the items' side of the dot product that stands for the score in an index."""
        return _to_numpy(self._item_dot_ID)

    @torch.inference_mode()
    def user_dots(self, user_BD: Tensor) -> NDArray[np.float32]:
        """Return ``[B, D]``: the viewers' side of that dot product."""
        return _to_numpy(self._user_dots(user_BD))

    def extended(self, vector_ND: NDArray[np.float32], trust: float = 1.0, offset: float = 0.0) -> Self:
        """Return an encoder of the same weights that knows more items behind its own.

        Parameters
        ----------
        vector_ND
            Their vectors.
        trust, offset
            What scores of these items are multiplied by, and what is added to them then.
        """
        other = type(self)(self.config, self.model, self.best_epoch)
        other._known, other._trust, other._offset = len(self._item_ID), trust, offset
        if self._trend_I is not None:
            # As an item that nobody has watched.
            least_N = self._trend_I.min().expand(len(vector_ND))
            other._trend_I = torch.cat([self._trend_I, least_N])
        other._item_ID = self._item_ID
        other._append(torch.from_numpy(vector_ND).to(self.device))
        return other

    def _append(self, vector_ND: Tensor) -> None:
        self._item_ID = torch.cat([self._item_ID, vector_ND])

    @torch.inference_mode()
    def match(self, user_D: Tensor, items: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """Return ``[N]`` one encoded viewer's scores of some items; None scores every item."""
        return _to_numpy(self._matched(user_D[None], self._codes(items))[0])

    @torch.inference_mode()
    def encode(self, histories: Histories, now: NDArray[np.int64] | None = None) -> Tensor:
        """Return ``[B, D]`` viewer vectors, zero for a viewer without a history.

        Parameters
        ----------
        histories
            What each viewer did; only the newest ``max_len`` events are read.
        now
            ``[B]`` UTC microseconds or ``NO_TIME``: when each viewer asks. None where that is not known.
        """
        user_BD = torch.zeros(histories.n_users, self.config.width, device=self.device)
        for rows, batch in self._batches(histories, now, _BATCH):
            user_BD[rows] = self.model(batch, self._table)
        return user_BD

    @torch.inference_mode()
    def scores(
        self,
        histories: Histories,
        now: NDArray[np.int64] | None = None,
        items: NDArray[np.int32] | None = None,
    ) -> NDArray[np.float32]:
        """Return ``[B, N]`` scores; to a viewer without a history items differ by their trend alone, if there is one.

        Parameters
        ----------
        histories, now
            As :meth:`encode` takes them.
        items
            ``[N]`` codes of what to score; None scores every item.
        """
        user_BD = self.encode(histories, now)
        codes = self._codes(items)
        scores_BN = np.empty((histories.n_users, len(self._item_ID) if items is None else len(items)), dtype=np.float32)
        for start in range(0, histories.n_users, _SCORED):
            part = slice(start, start + _SCORED)
            scores_BN[part] = _to_numpy(self._matched(user_BD[part], codes))
        if self._trend_I is None:
            scores_BN[np.diff(histories.offsets) == 0] = 0.0
        return scores_BN

    @torch.inference_mode()
    def attention(self, histories: Histories, now: NDArray[np.int64] | None = None) -> list[NDArray[np.float32]] | None:
        """Return how much of the encoder's look at each viewer went to each event: where it looked, not why.

        The shares are those of :func:`foveate.encoder.trained.rollout`. They say which events the answer was gathered
        from; taking an event away may change the answer more, or less, than its share.

        Parameters
        ----------
        histories, now
            As :meth:`encode` takes them.

        Returns
        -------
        list of ndarray, or None
            For each viewer float32 shares of their newest events, ``max_len`` at most, oldest first, that sum to one;
            nothing for a viewer without a history. None where the mixer does not weigh events, as a recurrent one.
        """
        shares = [np.empty(0, dtype=np.float32)] * histories.n_users
        longest = min(self.config.max_len, int(np.diff(histories.offsets).max(initial=1)))
        size = max(1, _WEIGHTS // longest**2)
        for rows, batch in self._batches(histories, now, size):
            _, weights = self.model.states(batch, self._table, want_weights=True)
            if not weights or len(weights) < self.config.blocks:
                return None
            share_BL = rollout(weights)
            for row, share_L, valid_L in zip(rows.tolist(), share_BL, batch.valid_BL, strict=True):
                shares[row] = _to_numpy(share_L[valid_L])
        return shares

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return every weight, and what is known of the items, by its name."""
        return {name: _to_numpy(value) for name, value in self.model.state_dict().items()}

    @classmethod
    def restore(cls, config: EncoderConfig, arrays: Mapping[str, NDArray[np.generic]]) -> Self:
        """Make the encoder again from its config and :meth:`arrays`.

        Raises
        ------
        TrainingError
            The arrays are of an encoder with another config, or hold weights that are not finite.
        """
        try:
            model = cls._laid_out(config, arrays)
        except (RuntimeError, KeyError) as error:
            raise TrainingError(f"these weights are of another encoder: {' '.join(str(error).split())}") from error
        for name, weight in model.named_parameters():
            if not all(part.isfinite().all() for part in torch.split(weight.reshape(-1), _CHECKED)):
                raise TrainingError(f"weight '{name}' is not finite everywhere: train this encoder anew")
        return cls(config, model)

    @classmethod
    def _laid_out(cls, config: EncoderConfig, arrays: Mapping[str, NDArray[np.generic]]) -> SequenceEncoder:
        """Return the module with values of its own."""
        content = Content.stored(config.inputs_of(ItemInputConfig), arrays)
        model = SequenceEncoder(config, len(arrays["items.weight"]), content)
        model.load_state_dict({name: torch.tensor(value) for name, value in arrays.items()})
        return model

    @cached_property
    def _item_ID(self) -> Tensor:
        with torch.inference_mode():
            return self.model.item_vectors()

    @property
    def _table(self) -> Lookup:
        return WholeTable(self._item_ID)

    @cached_property
    def _item_dot_ID(self) -> Tensor:
        with torch.inference_mode():
            return self._dots().contiguous()

    def _dots(self) -> Tensor:
        """Return ``[I, D]``: the items' side of the dot product, with what is popular as its last column."""
        dot_ID: Tensor = self.model.match.as_dot(self._item_ID[:0], self._item_ID)[1]
        return dot_ID if self._trend_I is None else torch.cat((dot_ID, self._trend_I[:, None]), dim=1)

    @cached_property
    def _trend_I(self) -> Tensor | None:
        """``[I]``: what is added to each item's scores, None where nothing is."""
        with torch.inference_mode():
            return None if self.model.trend is None else self.model.trend()

    def _user_dots(self, user_BD: Tensor) -> Tensor:
        dot_BD = self.model.match.as_dot(user_BD, self._item_ID[:0])[0]
        return dot_BD if self._trend_I is None else F.pad(dot_BD, (0, 1), value=1.0)

    def _plus_trend(self, scores_BN: Tensor, user_BD: Tensor, codes: Tensor | slice) -> Tensor:
        """Add what is popular to the scores of a match that no dot product stands for."""
        if self._trend_I is None:
            return scores_BN
        # A viewer without a history has a vector of zeros, of which such a match may make anything.
        return torch.where(user_BD.any(dim=1, keepdim=True), scores_BN, 0.0) + self._trend_I[codes]

    def _codes(self, items: NDArray[np.int32] | None) -> Tensor | slice:
        return slice(None) if items is None else torch.tensor(items, device=self.device).long()

    def _matched(self, user_BD: Tensor, codes: Tensor | slice) -> Tensor:
        """Return ``[B, N]``: scores of some items. What does not depend on the viewer is worked out once."""
        if self.indexable:
            return self._trusted(match(self._user_dots(user_BD), self._item_dot_ID[codes]), codes)
        return self._trusted(self._plus_trend(self.model.score(user_BD, self._item_ID[codes]), user_BD, codes), codes)

    def _trusted(self, score_BN: Tensor, codes: Tensor | slice) -> Tensor:
        if self._known is None:
            return score_BN
        code_N = torch.arange(score_BN.shape[1], device=self.device) if isinstance(codes, slice) else codes
        return torch.where(code_N < self._known, score_BN, score_BN * self._trust + self._offset)

    def _batches(
        self, histories: Histories, now: NDArray[np.int64] | None, size: int
    ) -> Iterator[tuple[Tensor, SequenceBatch]]:
        """Yield viewers who have a history, by their place, with the newest events of each."""
        events = EventArrays.of(histories, self.device, timed=self._timed, now=now)
        offsets = torch.tensor(histories.offsets, device=self.device)
        some = (offsets.diff() > 0).nonzero()[:, 0]
        spans = newest_spans(offsets, self.config.max_len)
        # Like lengths side by side leave little padding.
        for index in torch.split(torch.argsort(spans.length_B, stable=True), size):
            if len(index):
                yield some[index], events.batch(spans.take(index))


def _to_numpy(value: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(value.detach().cpu().numpy())


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """Return ``[B, L]``: how much of what the newest position holds came from each event; rows sum to one.

    The shares of each block are the mean over its heads. What a block adds stands beside what came in, so each counts
    for half: through two blocks the newest event always keeps at least a quarter. Source: Abnar and Zuidema,
    Quantifying Attention Flow in Transformers (2020), section 3, "attention rollout".

    Parameters
    ----------
    weights
        Of each block, the first one first, ``[B, H, L, L]``, none of them negative. Rows need not sum to one; one that
        gives no weight at all looks at itself.
    """
    newest = weights[-1].new_zeros(weights[-1].shape[::3])
    newest[:, -1] = 1.0
    for block in reversed(weights):
        newest = (newest + (newest[:, None] @ _shares(block))[:, 0]) / 2
    return newest


def _shares(weights: Tensor) -> Tensor:
    """Return ``[B, L, L]`` of rows that sum to one."""
    mean_BLL = weights.mean(dim=1)
    total_BL = mean_BLL.sum(dim=-1, keepdim=True)
    itself = torch.eye(mean_BLL.shape[-1], device=weights.device, dtype=mean_BLL.dtype)
    return torch.where(total_BL > 0, mean_BLL / total_BL.clamp(min=torch.finfo(mean_BLL.dtype).tiny), itself)


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
