"""Which values inside a graph are the same for every one of some images, as onnxruntime computes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bdscan.onnx.errors import OnnxError
from bdscan.onnx.prepare import parse
from bdscan.onnx.rewrite import prune

Array = NDArray[Any]

COMPANY = 7  # images in one batch, beside each of them alone
_MOST_VALUES = 1000
_AT_ONCE = 100  # onnxruntime's time grows with the square of the outputs
_FIRST = 3  # batches, in which most values change


def together(x: Array, fixed: int | None) -> list[Array]:
    """`x` (N, ...) in batches of `fixed`, filled up with the last image; None: any size will do."""
    if fixed is None:
        return [x[i : i + COMPANY] for i in range(0, len(x), COMPANY)]
    filled = np.concatenate([x, np.repeat(x[-1:], -len(x) % fixed, axis=0)])
    return np.split(filled, len(filled) // fixed)


def apart(x: Array, fixed: int | None) -> list[Array]:
    """As `together`, in other company: each image alone, or where the size is fixed one place further."""
    if fixed is None:
        return [x[i : i + 1] for i in range(len(x))]
    return [] if fixed == 1 else together(np.roll(x, 1, axis=0), fixed)


def run(path: Path, names: Sequence[str], given: str, parts: Sequence[Array]) -> Iterator[list[Any]]:
    """The outputs `names` of the file for each batch of the input `given`, without any rearrangement of the graph: two
    graphs that do the same calculations give the same bits.

    OnnxError where onnxruntime refuses.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for part in parts:
            yield session.run(list(names), {given: part})
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise OnnxError(f"onnxruntime cannot run it: {error}") from None


def unchanging(path: Path, names: Sequence[str], given: str, parts: Sequence[Array]) -> dict[str, Array]:
    """Those of the values `names` of the top-level graph that are equal for all images, with one image's value.

    A value that grows with the batch along one axis has size 1 there. Of `names` the first thousand are looked at.

    Args:
        path: the file; another one is written beside it for a while.
        given: the name of its input.
        parts: all images, `apart` and `together`, so that what depends on their company shows.
    """
    proto = parse(path)
    made = {name for node in proto.graph.node for name in node.output} | {t.name for t in proto.graph.initializer}
    left = [name for name in dict.fromkeys(names) if name in made][:_MOST_VALUES]
    found: dict[str, Array] = {}
    for few in (left[i : i + _AT_ONCE] for i in range(0, len(left), _AT_ONCE)):
        some = _equal_in(proto, path, few, given, [*parts[:_FIRST], parts[-1]])
        found |= _equal_in(proto, path, list(some), given, parts)
    return found


def _equal_in(
    proto: onnx.ModelProto, path: Path, names: list[str], given: str, parts: Sequence[Array]
) -> dict[str, Array]:
    """As `unchanging`, of all `names`."""
    if not names:
        return {}
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    prune(probe.graph)
    file = path.with_name(path.name + ".probe")
    file.write_bytes(probe.SerializeToString())
    known: dict[str, Array] | None = None
    try:
        for values in run(file, names, given, parts):
            now = {n: v for n, v in zip(names, values, strict=True) if isinstance(v, np.ndarray)}
            known = now if known is None else {n: v for n, v in known.items() if n in now and _repeats(v, now[n])}
    finally:
        file.unlink()
    return known or {}


def _repeats(one: Array, value: Array) -> bool:
    """Whether `value` is `one`, or holds nothing else along an axis where `one` has size 1."""
    if one.dtype != value.dtype or one.ndim != value.ndim:
        return False
    longer = [i for i, (a, b) in enumerate(zip(one.shape, value.shape, strict=True)) if a != b]
    if len(longer) > 1 or any(one.shape[i] != 1 or value.shape[i] == 0 for i in longer):
        return False
    return same(np.broadcast_to(one, value.shape), value)


def same(a: Array, b: Array) -> bool:
    """Equal in type, shape and every value; NaN equals NaN."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
