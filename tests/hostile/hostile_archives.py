"""Zip files that are not what they seem, built by changing bytes of good ones."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from toys import toy


def weights() -> bytes:
    out = io.BytesIO()
    torch.save(toy().state_dict(), out)
    return out.getvalue()


def module() -> bytes:
    out = io.BytesIO()
    torch.save(toy(), out)
    return out.getvalue()


def members(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as archive:
        warnings.simplefilter("ignore")  # duplicate names
        for name, content in parts:
            archive.writestr(name, content)
        archive.comment = comment
    return out.getvalue()


def wrong_crc() -> bytes:
    raw = bytearray(module())
    at = raw.index(members(bytes(raw))["archive/data/0"])
    raw[at] ^= 0xFF
    return bytes(raw)


def duplicate() -> bytes:
    parts = list(members(module()).items())
    return zipped([*parts, ("archive/data.pkl", members(weights())["archive/data.pkl"])])


def two_archives() -> bytes:
    parts = list(members(module()).items())
    return zipped([*parts, *((name.replace("archive/", "other/"), content) for name, content in parts)])


def with_prefix() -> bytes:
    """A local header of nothing in particular, then the whole archive."""
    lone = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"x"
    return lone + module()


def bomb() -> bytes:
    parts = members(module())
    parts["archive/data/0"] = b"\0" * (300 * 2**20)
    return zipped(list(parts.items()), zipfile.ZIP_DEFLATED)


def patched(raw: bytes, field: int, value: int, size: int = 4, which: int = 0) -> bytes:
    """One field of a member's entry in the directory changed."""
    out = bytearray(raw)
    at = -1
    for _ in range(which + 1):
        at = out.index(b"PK\1\2", at + 1)
    out[at + field : at + field + size] = value.to_bytes(size, "little")
    return bytes(out)


def nested() -> bytes:
    inner = module()
    for _ in range(5):
        inner = zipped([("archive/inner.zip", inner)])
    return inner


def pickle_then_zip() -> bytes:
    """A pickle for one reader, an archive for another."""
    return b"\x80\x02K\x07." + module()


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "wrong CRC": (wrong_crc, "CRC"),
    "duplicate members": (duplicate, "two members named"),
    "two archives in one": (two_archives, "several archives"),
    "something before the archive": (with_prefix, "before its first member"),
    "a pickle, then an archive": (pickle_then_zip, ""),
    "an archive in an archive in an archive": (nested, "no PyTorch model"),
    "a bomb": (bomb, "hundreds of megabytes"),
    "a comment that holds an archive": (
        lambda: zipped(list(members(module()).items()), comment=zipped([("a/data.pkl", b"x")])),
        "comment|archive",
    ),
    "encrypted": (lambda: patched(module(), 8, 1, 2), "encrypted"),
    "compressed in an unknown way": (lambda: patched(module(), 10, 97, 2), "unusual way|damaged"),
    "a size of terabytes": (lambda: patched(module(), 24, 0xFFFFFFF0), "two sizes|damaged"),
    "both sizes lie": (lambda: patched(patched(module(), 24, 2**31), 20, 2**31), "within another|damaged"),
    "a member within another": (lambda: patched(module(), 42, 0, which=1), "within another|damaged|differ"),
    "a member beyond the end": (lambda: patched(module(), 42, 2**31, which=1), "damaged|EOF|beyond|Truncated"),
    "a name that climbs": (
        lambda: zipped([("../../etc/data.pkl", b"\x80\x02K\x07."), ("../../etc/version", b"3")]),
        "",
    ),
    "twenty thousand members": (
        lambda: zipped([(f"archive/{i}", b"") for i in range(20_000)] + [("archive/data.pkl", b"\x80\x02.")]),
        "",
    ),
    "no data.pkl": (lambda: zipped([("archive/version", b"3")]), "no PyTorch model"),
    "an executable in front": (lambda: b"#!/bin/sh\ntouch executed\n" + module(), ""),
    "an ONNX name": (lambda: zipped([("archive/data.pkl", b"\x80\x02}.")]), ""),
    "a torch.export archive with pickled payloads": (
        lambda: zipped(
            [
                ("p/archive_format", b"pt2"),
                ("p/models/model.json", b"{}"),
                ("p/data/sample_inputs/model.pt", b"\x80\x02cos\nmkdir\n(X\x08\0\0\0executedtR."),
            ]
        ),
        "torch.export",
    ),
    "an older torch.export archive": (
        lambda: zipped(
            [
                ("serialized_exported_program.json", b"{}"),
                ("serialized_state_dict.json", b"\x80\x02cos\nmkdir\n."),
                ("version", b"5.1"),
            ]
        ),
        "torch.export|no PyTorch",
    ),
    "torch.package": (
        lambda: zipped(
            [
                ("m/.data/extern_modules", b"os\n"),
                ("m/model/model.pkl", b"\x80\x02cos\nsystem\n."),
                ("m/.data/version", b"6"),
            ]
        ),
        "no PyTorch model",
    ),
}


def write(name: str, folder: Path) -> Path:
    suffix = ".pt2" if "torch.export" in name else ".onnx" if "ONNX" in name else ".pt"
    path = folder / f"model{suffix}"
    path.write_bytes(ARCHIVES[name][0]())
    return path
