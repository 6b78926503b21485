"""Convolutions, with the padding rules that pooling shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.ops.registry import Attrs, check_size, op

Pads = list[tuple[int, int]]  # (before, after) for each spatial axis


def spatial(attrs: Attrs, name: str, rank: int, default: int = 1) -> list[int]:
    """A per-axis attribute (strides, dilations), filled with the default."""
    return list(attrs.get(name) or [default] * rank)


def resolve_pads(
    attrs: Attrs, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pads:
    """`pads` or `auto_pad` as (before, after) pairs; SAME makes ceil(size / stride) outputs."""
    mode = attrs.get("auto_pad", "NOTSET")
    rank = len(size)
    if mode == "NOTSET":
        flat = attrs.get("pads") or [0] * (2 * rank)
        if len(flat) != 2 * rank:
            raise OnnxError(f"pads has {len(flat)} entries, expected {2 * rank}")
        return list(zip(flat[:rank], flat[rank:], strict=True))
    if mode == "VALID":
        return [(0, 0)] * rank
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise OnnxError(f"unknown auto_pad {mode!r}")
    pads = []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        need = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        small, large = need // 2, need - need // 2
        pads.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return pads


def apply_pads(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    """Pad (or crop, where negative) the trailing axes of x."""
    if all(p == (0, 0) for p in pads):
        return x
    rank = len(pads)
    check_size(
        [*x.shape[:-rank], *(n + max(a, 0) + max(b, 0) for n, (a, b) in zip(x.shape[-rank:], pads, strict=True))]
    )
    return functional.pad(x, [p for pair in reversed(pads) for p in pair], value=value)


_CONV: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def _spatial_rank(x: Tensor) -> int:
    if x.dim() - 2 not in _CONV:
        raise OnnxError(f"convolution over an input of rank {x.dim()} is not supported")
    return x.dim() - 2


@op("Conv")
def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    rank = _spatial_rank(x)
    strides, dilations = spatial(attrs, "strides", rank), spatial(attrs, "dilations", rank)
    pads = resolve_pads(attrs, x.shape[2:], weight.shape[2:], strides, dilations)
    padding = [a for a, _ in pads]
    if any(a != b or a < 0 for a, b in pads):
        x, padding = apply_pads(x, pads), [0] * rank
    return _CONV[rank](x, weight, bias, strides, padding, dilations, attrs.get("group", 1))


@op("ConvTranspose")
def conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, attrs: Attrs, opset: int) -> Tensor:
    """The unpadded result is cropped by the pads; output_padding and output_shape extend it at the end."""
    rank = _spatial_rank(x)
    strides, dilations = spatial(attrs, "strides", rank), spatial(attrs, "dilations", rank)
    extra = spatial(attrs, "output_padding", rank, 0)
    full = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(x.shape[2:], strides, weight.shape[2:], dilations, extra, strict=True)
    ]
    pads = _transposed_pads(attrs, x.shape[2:], strides, full)
    check_size([x.shape[0], weight.shape[1] * attrs.get("group", 1), *full])
    y = _TRANSPOSED[rank](x, weight, None, strides, 0, 0, attrs.get("group", 1), dilations)
    y = apply_pads(y, [(-a, e - b) for (a, b), e in zip(pads, extra, strict=True)])
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def _transposed_pads(attrs: Attrs, size: Sequence[int], strides: Sequence[int], full: Sequence[int]) -> Pads:
    mode = attrs.get("auto_pad", "NOTSET")
    wanted = attrs.get("output_shape")
    if wanted is not None:
        wanted = list(wanted)[-len(size) :]
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(size, strides, strict=True)]
    else:
        return resolve_pads(attrs, size, size, strides, strides)
    pads = []
    for f, w in zip(full, wanted, strict=True):
        small, large = (f - w) // 2, (f - w) - (f - w) // 2
        pads.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return pads
