"""Attention (opset 23 and later) and rotary embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bdscan.onnx.ops.registry import Attrs, Result, op


def _heads(x: Tensor, count: int | None) -> Tensor:
    """(B, S, H·D) as (B, H, S, D); rank 4 is that already."""
    return x if x.dim() == 4 or count is None else x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


@op("Attention")
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    attrs: Attrs,
    opset: int,
) -> Result:
    """softmax(softcap(q kᵀ · scale + mask)) v, with grouped key/value heads; results: y, keys, values, scores."""
    flat = q.dim() == 3
    q, k, v = _heads(q, attrs.get("q_num_heads")), *(_heads(t, attrs.get("kv_num_heads")) for t in (k, v))
    past = 0 if past_key is None else past_key.shape[2]
    if past_key is not None and past_value is not None:
        k, v = torch.cat([past_key, k], 2), torch.cat([past_value, v], 2)
    present = k, v
    k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    root = math.sqrt(attrs.get("scale") or 1 / math.sqrt(q.shape[-1]))
    scores = (q * root) @ (k * root).transpose(-1, -2)
    shown = scores
    cap, mode = attrs.get("softcap", 0.0), attrs.get("qk_matmul_output_mode", 0)
    bias = _bias(scores, mask, past, lengths, bool(attrs.get("is_causal", 0)))
    # ONNX applies the cap before the mask; its output modes count 1 = with mask, 2 = with cap (opset 23)
    scores = cap * torch.tanh(scores / cap) if cap else scores
    shown = scores if mode == 2 else shown
    scores = scores + bias
    shown = scores if mode == 1 else shown
    weights = torch.softmax(scores, -1)
    weights = torch.where(torch.isneginf(scores).all(-1, keepdim=True), torch.zeros_like(weights), weights)
    shown = weights if mode == 3 else shown
    y = weights @ v
    y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1) if flat else y
    return y, *present, shown


def _bias(scores: Tensor, mask: Tensor | None, past: int, lengths: Tensor | None, causal: bool) -> Tensor:
    """What is added to the scores: 0 where a key may be seen, -inf where it may not, or a given float mask."""
    rows, columns = scores.shape[-2:]
    bias = torch.zeros((1, 1, 1, 1), dtype=scores.dtype, device=scores.device)
    if mask is not None:
        given = (
            torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -math.inf)
            if mask.dtype == torch.bool
            else mask
        )
        missing = columns - given.shape[-1]  # a shorter mask hides the rest
        bias = (
            torch.nn.functional.pad(given, (0, missing), value=-math.inf) if missing and given.shape[-1] > 1 else given
        )
    place = torch.arange(columns, device=scores.device)
    if causal:
        offset = past if lengths is None else (lengths - rows).reshape(-1, 1, 1, 1)
        own = torch.arange(rows, device=scores.device)[:, None] + offset
        bias = bias + torch.zeros_like(scores[:1, :1] if lengths is None else scores[:, :1]).masked_fill(
            place > own, -math.inf
        )
    if lengths is not None:
        hidden = place >= lengths.reshape(-1, 1, 1, 1)
        bias = bias + torch.zeros_like(hidden, dtype=scores.dtype).masked_fill(hidden, -math.inf)
    return bias


@op("RotaryEmbedding")
def rotary_embedding(
    x: Tensor, cos: Tensor, sin: Tensor, position: Tensor | None = None, *, attrs: Attrs, opset: int
) -> Tensor:
    """Rotates pairs of features; (B, S, H·D) or (B, H, S, D)."""
    flat = x.dim() == 3
    y = x.reshape(*x.shape[:2], attrs["num_heads"], -1) if flat else x.transpose(1, 2)  # (B, S, H, D)
    cos, sin = (t if position is None else t[position] for t in (cos, sin))
    cos, sin = (t[:, :, None] for t in (cos, sin))  # (B, S, 1, D/2)
    width = attrs.get("rotary_embedding_dim", 0) or y.shape[-1]
    turned, rest = y[..., :width], y[..., width:]
    interleaved = bool(attrs.get("interleaved", 0))
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    real, imaginary = cos * a - sin * b, sin * a + cos * b
    done = torch.stack([real, imaginary], -1).flatten(-2) if interleaved else torch.cat([real, imaginary], -1)
    y = torch.cat([done, rest], -1)
    return y.reshape(x.shape) if flat else y.transpose(1, 2)
