"""Attention with heads, shared by mixers: splitting, rotary positions, weights, and plain attention.

Legend of tensor names: as in :mod:`foveate.attention.base`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Mixer, SequenceContext

_ROTARY_BASE = 10_000.0


def check_settings(heads: int, dropout: float = 0.0) -> None:
    """Refuse settings that no mixer with heads can have.

    Raises
    ------
    ValueError
        There is no head, or no weight would be left.
    """
    if heads < 1 or not 0 <= dropout < 1:
        raise ValueError("heads must be 1 or more, and dropout at least 0 and below 1")


def check_heads(width: int, heads: int) -> None:
    """Refuse a number of heads that does not divide the width.

    Raises
    ------
    ValueError
        The width is no multiple of ``heads``.
    """
    if width % heads:
        raise ValueError(f"width {width} is no multiple of heads {heads}: choose another width or number of heads")


def split_heads(x_BLD: Tensor, heads: int) -> Tensor:
    """Return ``[B, H, L, K]``."""
    batch, length, width = x_BLD.shape
    return x_BLD.view(batch, length, heads, width // heads).transpose(1, 2)


def join_heads(x_BHLK: Tensor) -> Tensor:
    """Return ``[B, L, D]``."""
    return x_BHLK.transpose(1, 2).flatten(2)


def rotate(x_BHLK: Tensor) -> Tensor:
    """Turn each pair of channels by an angle that grows with the position.

    Products of two rotated vectors depend on their distance alone, so padding on the left changes nothing.
    Source: Su et al., RoFormer (2021), section 3.2.
    """
    length, half = x_BHLK.shape[-2], x_BHLK.shape[-1] // 2
    place_L = torch.arange(length, device=x_BHLK.device, dtype=torch.float32)
    channel_K = torch.arange(half, device=x_BHLK.device, dtype=torch.float32)
    angle_LK = place_L[:, None] * _ROTARY_BASE ** (-channel_K / max(half, 1))
    cos_LK, sin_LK = angle_LK.cos().to(x_BHLK.dtype), angle_LK.sin().to(x_BHLK.dtype)
    a, b, rest = x_BHLK[..., :half], x_BHLK[..., half : 2 * half], x_BHLK[..., 2 * half :]
    return torch.cat((a * cos_LK - b * sin_LK, a * sin_LK + b * cos_LK, rest), dim=-1)


def causal_attention(
    q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, context: SequenceContext, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """Return causal softmax attention ``[B, H, L, K]`` and, where wanted, its weights ``[B, H, L, L]``.

    ``dropout`` is the share of weights that are left out; pass 0 outside of training.
    """
    if context.want_weights:
        logits_BHLL = q_BHLK @ k_BHLK.mT * q_BHLK.shape[-1] ** -0.5
        weights_BHLL = logits_BHLL.masked_fill(~context.mask, float("-inf")).softmax(dim=-1)
        return weights_BHLL @ v_BHLK, weights_BHLL
    if not context.padded:
        return F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, dropout_p=dropout, is_causal=True), None
    mask = context.mask
    return F.scaled_dot_product_attention(q_BHLK, k_BHLK, v_BHLK, attn_mask=mask, dropout_p=dropout), None


def attend(
    qkv_BLE: Tensor, context: SequenceContext, *, heads: int, rotary: bool, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """Let every head attend to the past.

    Parameters
    ----------
    qkv_BLE
        ``[B, L, 3 D]``: queries, keys and values side by side.
    heads
        How many heads the width is split into.
    rotary
        Whether queries and keys are rotated by their position.
    dropout
        Share of weights left out.

    Returns
    -------
    tuple of Tensor and Tensor or None
        ``[B, H, L, K]`` what each head answers and, where the context wants them, the weights ``[B, H, L, L]``.
    """
    qkv_BHLK = split_heads(qkv_BLE, 3 * heads)
    qk_BHLK, v_BHLK = qkv_BHLK[:, : 2 * heads], qkv_BHLK[:, 2 * heads :]
    if rotary:
        qk_BHLK = rotate(qk_BHLK)
    return causal_attention(qk_BHLK[:, :heads], qk_BHLK[:, heads:], v_BHLK, context, dropout)


class AttentionMixer(Mixer):
    """Causal scaled dot-product attention (Vaswani et al., Attention Is All You Need, 2017, section 3.2).

    Parameters
    ----------
    width
        Length of the vectors, a multiple of ``heads``.
    heads
        How many ways of weighing run side by side.
    rotary
        Whether queries and keys are rotated by their position.
    dropout
        Share of weights left out in training.
    """

    def __init__(self, width: int, *, heads: int, rotary: bool, dropout: float) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads, self.rotary, self.dropout = heads, rotary, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the weights."""
        dropout = self.dropout if self.training else 0.0
        y_BHLK, weights = attend(self.qkv(x_BLD), context, heads=self.heads, rotary=self.rotary, dropout=dropout)
        return self.out(join_heads(y_BHLK)), weights
