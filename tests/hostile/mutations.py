"""Mutations that keep a file's structure, so that they get past the first check and into the parser."""

from __future__ import annotations

import io
import json
import pickletools
import random
import zipfile
from collections.abc import Callable

EDGES = (0, 1, -1, 2, 7, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
TEXTS = (
    "",
    "\0",
    "\x1b[2J",
    "\u202e",
    "../../x",
    "/etc/passwd",
    "a" * 5000,
    "\ud800",
    "<b>",
    "%s%n",
    "NaN",
    "\n",
    "-1",
)
NUMBERS = (0.0, -0.0, 1e308, -1e308, 1e-308, float("inf"), float("-inf"), float("nan"))


def bytes_of(raw: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, repeats, and numbers in places."""
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not out:
            break
        at = rng.randrange(len(out))
        act = rng.randrange(6)
        if act == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif act == 1:
            out[at] = rng.randrange(256)
        elif act == 2:
            del out[at : at + rng.choice((1, 2, 8, 64, 4096))]
        elif act == 3:
            out[at:at] = out[at : at + rng.choice((1, 8, 64))] * rng.choice((1, 2, 100))
        elif act == 4:
            size = rng.choice((1, 2, 4, 8))
            out[at : at + size] = (rng.choice(EDGES) % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
        else:
            out[at:at] = rng.randbytes(rng.choice((1, 4, 32)))
    return bytes(out)


def text_of(raw: bytes, rng: random.Random) -> bytes:
    """Lines and words moved, repeated, dropped; numbers replaced; brackets nested."""
    lines = raw.decode("utf-8", "replace").split("\n")
    for _ in range(rng.choice((1, 2, 4))):
        at, act = rng.randrange(len(lines)), rng.randrange(7)
        line = lines[at]
        if act == 0:
            del lines[at]
            lines = lines or [""]
        elif act == 1:
            lines.insert(rng.randrange(len(lines) + 1), line)
        elif act == 2 and line:
            cut = rng.randrange(len(line))
            lines[at] = line[:cut] + rng.choice(TEXTS) + line[cut:]
        elif act == 3:
            numbers = [i for i, char in enumerate(line) if char.isdigit()]
            if numbers:
                cut = rng.choice(numbers)
                lines[at] = line[:cut] + str(rng.choice(EDGES)) + line[cut + 1 :]
        elif act == 4 and line:
            cut = rng.randrange(len(line))
            lines[at] = line[:cut] + rng.choice("([{\"'") * rng.choice((1, 2, 3000)) + line[cut:]
        elif act == 5:
            words = line.split(" ")
            rng.shuffle(words)
            lines[at] = " ".join(words)
        elif line:
            cut = rng.randrange(len(line))
            lines[at] = line[:cut] + "9" * rng.choice((1, 30, 6000)) + line[cut:]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def tree_of(value: object, rng: random.Random, depth: int = 0) -> object:
    """One place of a JSON value changed, dropped, repeated or nested."""
    if isinstance(value, dict) and value and (depth < 1 or rng.random() < 0.9):
        key, act = rng.choice(list(value)), rng.randrange(12)
        if act == 0:
            return {k: v for k, v in value.items() if k != key}
        if act == 1:
            return {**value, rng.choice(TEXTS): value[key]}
        return {**value, key: tree_of(value[key], rng, depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at, act = rng.randrange(len(value)), rng.randrange(8)
        if act == 0:
            return value[:at] + value[at + 1 :]
        if act == 1:
            return value[:at] + [value[at]] * rng.choice((2, 50)) + value[at:]
        return [*value[:at], tree_of(value[at], rng, depth + 1), *value[at + 1 :]]
    act = rng.randrange(6)
    if act == 0:
        return rng.choice(EDGES)
    if act == 1:
        return rng.choice(TEXTS)
    if act == 2:
        return rng.choice((None, True, [], {}, [[]], {"": None}))
    if act == 3:
        return rng.choice(NUMBERS)
    if act == 4:
        for _ in range(rng.choice((2, 200, 900))):
            value = [value]
        return value
    return -value if isinstance(value, int) else str(value) * 3


def pickle_of(raw: bytes, rng: random.Random) -> bytes:
    """Opcodes dropped, repeated, moved, with other arguments."""
    try:
        marks = [place for _, _, place in pickletools.genops(raw)]
    except Exception:
        return bytes_of(raw, rng)
    pieces = [raw[a:b] for a, b in zip(marks, [*marks[1:], len(raw)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, act = rng.randrange(len(pieces)), rng.randrange(6)
        if act == 0:
            del pieces[at]
        elif act == 1:
            pieces[at:at] = [pieces[at]] * rng.choice((1, 3, 500))
        elif act == 2:
            other = rng.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif act == 3:
            pieces[at] = bytes_of(pieces[at], rng)
        elif act == 4:
            pieces[at] = b"J" + (rng.choice(EDGES) % 2**32).to_bytes(4, "little")
        else:
            name = rng.choice(
                (
                    b"ctorch._utils\n_rebuild_sparse_tensor\n",
                    b"ctorch.nn.modules.linear\nLinear\n",
                    b"cos\nsystem\n",
                    b"ctorch\nSize\n",
                    b"ccollections\nOrderedDict\n",
                    b"ctorch._utils\n_rebuild_qtensor\n",
                    b"ctorch._tensor\n_rebuild_from_type_v2\n",
                    b"ctorch.storage\nTypedStorage\n",
                )
            )
            pieces[at] = rng.choice((name, name + b")R", b"b", b"\x81", b"R", b"N", b"}", b"Q", b"0"))
        pieces = pieces or [b"."]
    return b"".join(pieces)


def zip_of(raw: bytes, rng: random.Random, inner: dict[str, Callable[[bytes, random.Random], bytes]]) -> bytes:
    """One member changed by the mutation for its name's ending, then packed again; sometimes the packing itself."""
    if rng.random() < 0.15:
        return bytes_of(raw, rng)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    wanted = [i for i, (name, _) in enumerate(parts) if any(name.endswith(end) for end in inner)]
    at = rng.choice(wanted) if wanted and rng.random() < 0.9 else rng.randrange(len(parts))
    name, content = parts[at]
    change = next((inner[end] for end in inner if name.endswith(end)), bytes_of)
    if rng.random() < 0.04:
        del parts[at]
    else:
        parts[at] = (name, change(content, rng))
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return out.getvalue()


def npy_of(raw: bytes, rng: random.Random) -> bytes:
    """The header's text or its length, or the data."""
    if rng.random() < 0.3 or len(raw) < 12:
        return bytes_of(raw, rng)
    length = int.from_bytes(raw[8:10], "little")
    head = text_of(raw[10 : 10 + length].rstrip(), rng).ljust(rng.choice((0, 117))) + b"\n"
    version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\4\0"))
    size = len(head).to_bytes(2 if version == b"\1\0" else 4, "little") if len(head) < 65536 else b"\xff\xff"
    return raw[:6] + version + size + head + raw[10 + length :]


def json_of(raw: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        return text_of(raw, rng)
    value = json.loads(raw)
    for _ in range(rng.choice((1, 1, 3))):
        value = tree_of(value, rng)
    try:
        return json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    except RecursionError:  # of the writer, not of what is tested
        return text_of(raw, rng)


def safetensors_of(raw: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2:
        return bytes_of(raw, rng)
    length = int.from_bytes(raw[:8], "little")
    head = json_of(raw[8 : 8 + length], rng)
    said = len(head) if rng.random() < 0.9 else rng.choice(EDGES) % 2**64
    return said.to_bytes(8, "little") + head + raw[8 + length :]


def message_of(message: object, rng: random.Random) -> None:
    """One place of a protobuf message, somewhere inside, changed in place."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = rng.choice(fields)
    repeated = hasattr(value, "append") or hasattr(value, "add")
    if repeated and len(value):
        at, act = rng.randrange(len(value)), rng.randrange(8)
        if act == 0:
            del value[at]
        elif act == 1 and hasattr(value, "add"):
            value.add().CopyFrom(value[at])
        elif field.message_type is not None:
            message_of(value[at], rng)
        else:
            value[at] = _scalar(value[at], rng)
    elif field.message_type is not None:
        message_of(value, rng) if rng.random() < 0.95 else message.ClearField(field.name)
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    else:
        try:
            setattr(message, field.name, _scalar(value, rng))
        except (ValueError, TypeError):
            message.ClearField(field.name)


def _scalar(value: object, rng: random.Random) -> object:
    if isinstance(value, bytes):
        return bytes_of(value, rng)
    if isinstance(value, str):
        return rng.choice((*TEXTS[:11], value + "x", "Loop", "Where", "Reshape", "Einsum", "Gather", "Resize", "Conv"))
    if isinstance(value, int):
        return (
            rng.choice((value + 1, value - 1, value * 2, *EDGES)) % 2**31 if rng.random() < 0.7 else rng.choice(EDGES)
        )
    return rng.choice(NUMBERS)


def onnx_of(raw: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return bytes_of(raw, rng)
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        try:
            message_of(model, rng)
        except (ValueError, TypeError):
            continue
    return model.SerializeToString()
