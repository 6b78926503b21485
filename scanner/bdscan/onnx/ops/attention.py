"""Attention (opset 23 and later) and rotary embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

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
    cap = attrs.get("softcap", 0.0)
    raw = (q * root) @ (k * root).transpose(-1, -2)
    capped = cap * torch.tanh(raw / cap) if cap else raw
    scores = capped + _bias(raw, mask, past, lengths, attrs)
    hidden = torch.isneginf(scores).all(-1, keepdim=True)  # rows that may see nothing give zero, not NaN
    weights = torch.where(hidden, 0.0, torch.softmax(torch.where(hidden, 0.0, scores), -1))
    y = weights.to(v.dtype) @ v
    y = y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1) if flat else y
    return y, *present, (raw, capped, scores, weights)[attrs.get("qk_matmul_output_mode", 0)]


def _bias(scores: Tensor, mask: Tensor | None, past: int, lengths: Tensor | None, attrs: Attrs) -> Tensor:
    """What is added to the scores: -inf where a query may not see a key, else 0 or the float mask."""
    rows, columns = scores.shape[-2:]
    key = torch.arange(columns, device=scores.device)
    own = torch.arange(rows, device=scores.device)[:, None] + past
    visible = torch.ones((1, 1, rows, columns), dtype=torch.bool, device=scores.device)
    if lengths is not None:  # an outside cache: only the first `lengths` keys count, the queries are the last of them
        valid = lengths.reshape(-1, 1, 1, 1)
        visible, own = visible & (key < valid), own + valid - rows
    if attrs.get("is_causal", 0):
        visible = visible & (key <= own)
    if (left := attrs.get("left_window_size", -1)) >= 0:
        visible = visible & (key >= own - left)
    if (right := attrs.get("right_window_size", -1)) >= 0:
        visible = visible & (key <= own + right)
    bias = torch.zeros_like(visible, dtype=scores.dtype).masked_fill(~visible, -math.inf)
    if mask is None:
        return bias
    given = (
        torch.zeros_like(mask, dtype=scores.dtype).masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else mask
    )
    missing = columns - given.shape[-1]  # a shorter mask hides the rest
    return bias + (functional.pad(given, (0, missing), value=-math.inf) if missing and given.shape[-1] > 1 else given)


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
