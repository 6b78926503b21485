"""Image folders and arrays that would cost the machine, or lead somewhere else."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import quarters

from bdscan.intake import image_folder


def png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def real(kind: str, size: int = 64) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)).save(out, kind)
    return out.getvalue()


IMAGES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a decompression bomb": ("1.png", lambda: png(30_000, 30_000, zlib.compress(bytes(100_000_000), 9))),
    "dims of gigapixels": ("1.png", lambda: png(2**31 - 1, 2**31 - 1)),
    "dims without data": ("1.png", lambda: png(5000, 5000)),
    "no pixels": ("1.png", lambda: png(0, 0)),
    "a GIF of gigapixels": ("1.gif", lambda: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;"),
    "a bitmap with lying dims": ("1.bmp", lambda: real("BMP").replace(struct.pack("<I", 64), struct.pack("<I", 2**30))),
    "a truncated JPEG": ("1.jpg", lambda: real("JPEG")[:300]),
    "a truncated PNG": ("1.png", lambda: real("PNG")[:500]),
    "a TIFF that points outside": ("1.tif", lambda: b"II*\0\xff\xff\xff\x7f"),
    "PostScript, which would run Ghostscript": (
        "1.png",
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(executed) (w) file closefile\nshowpage\n",
    ),
    "an SVG": ("1.png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>'),
    "text": ("1.png", lambda: b"not an image"),
    "a pickle": ("1.jpg", lambda: b"\x80\x02cos\nsystem\n(X\x04\0\0\0truetR."),
    "nothing": ("1.webp", lambda: b""),
    "an icon, a format that is not read": ("1.bmp", lambda: real("ICO")),
}


def samples(folder: Path) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            (folder / name / f"good{number}.png").write_bytes(real("PNG", 8 + number))
    return folder


@pytest.mark.parametrize("name", IMAGES)
def test_image(cell, folder, refused, name: str) -> None:
    file, make = IMAGES[name]
    (samples(folder) / "cat" / file).write_bytes(make())
    refused(cell.ask("samples", samples=str(folder)), f"image .*{file}: cannot be decoded")


def test_a_wrong_but_harmless_extension_is_read_by_its_content(cell, folder) -> None:
    (samples(folder) / "cat" / "1.gif").write_bytes(real("JPEG"))
    assert cell.ask("samples", samples=str(folder)).kind == "loaded"


def test_links_in_samples(cell, folder, refused) -> None:
    """Loops are passed over; what leads out is refused; an image elsewhere is the user's choice and may be linked."""
    place, outside = samples(folder / "s"), cell.folder.parent / f"outside-{folder.name}"
    (place / "cat" / "loop.png").symlink_to(place / "cat" / "loop.png")
    (place / "cat" / "up").symlink_to(place)
    assert cell.ask("samples", samples=str(place)).kind == "loaded"
    outside.mkdir()
    (outside / "key").write_bytes(b"secret")
    (place / "dog" / "key.png").symlink_to(outside / "key")
    refused(cell.ask("samples", samples=str(place)), "cannot be read .a link to what is no image")
    (place / "dog" / "key.png").unlink()
    (place / "house").symlink_to(outside)
    refused(cell.ask("samples", samples=str(place)), "'house' is a link that leads elsewhere")


def test_a_thousand_folders_deep(cell, folder) -> None:
    """Python's own recursive searches end in a RecursionError there."""
    made = [f"{samples(folder)}/cat"]
    for _ in range(1200):
        made.append(f"{made[-1]}/d")
        os.mkdir(made[-1])
    try:
        assert cell.ask("samples", samples=str(folder)).kind == "loaded"
    finally:
        for place in reversed(made[1:]):  # nor can they be removed by one
            os.rmdir(place)


def test_huge_counts_are_refused_while_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bdscan.errors import UsageError

    monkeypatch.setattr(image_folder, "MAX_FILES", 5)
    with pytest.raises(UsageError, match="more than 5 images"):
        image_folder.read_folder(samples(tmp_path), 0)


def npy(
    shape: str, data: bytes = b"", version: bytes = b"\1\0", dtype: str = "|u1", length: int | None = None
) -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = (len(text) if length is None else length).to_bytes(2 if version == b"\1\0" else 4, "little")
    return b"\x93NUMPY" + version + size + text + data


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return out.getvalue()


Y = ("y.npy", npy("(4,)", bytes(4)))
ARRAYS: dict[str, Callable[[], bytes]] = {
    "a shape of terabytes": lambda: archive(("x.npy", npy("(1099511627776, 8, 8, 1)")), Y),
    "a shape that overflows": lambda: archive(("x.npy", npy("(9223372036854775807, 9223372036854775807)")), Y),
    "a negative shape": lambda: archive(("x.npy", npy("(-4, 8, 8, 1)")), Y),
    "a shape of nested brackets": lambda: archive(("x.npy", npy("(" * 3000 + ")" * 3000)), Y),
    "a header of four gigabytes": lambda: archive(
        ("x.npy", npy("(4,)", bytes(50_000_000), b"\2\0", length=2**32 - 1)), Y, compression=zipfile.ZIP_DEFLATED
    ),
    "a header that is code": lambda: archive(("x.npy", npy("__import__('os').mkdir('executed')")), Y),
    "Python objects": lambda: archive(("x.npy", npy("(1,)", b"\x80\x02cos\nsystem\n.", dtype="|O")), Y),
    "records with objects": lambda: archive(("x.npy", npy("(1,)").replace(b"'|u1'", b"[('a', '|O')]")), Y),
    "a type of terabytes": lambda: archive(("x.npy", npy("(1,)", dtype="|V2147483647")), Y),
    "less data than it says": lambda: archive(("x.npy", npy("(4, 8, 8, 1)", b"xx")), Y),
    "no arrays": lambda: archive(("x.txt", b"hello")),
    "five thousand arrays": lambda: archive(*((f"a{i}.npy", npy("(1,)", b"x")) for i in range(5000))),
    "images without pixels": lambda: archive(("x.npy", npy("(4, 0, 0, 1)")), Y),
    "text as images": lambda: archive(("x.npy", npy("(4,)", bytes(16), dtype="<U1")), Y),
    "not a zip": lambda: b"PK\3\4" + bytes(50),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_npz(cell, folder, refused, name: str) -> None:
    (folder / "s.npz").write_bytes(ARRAYS[name]())
    refused(cell.ask("samples", samples=str(folder / "s.npz")), "--samples")
    assert not Path("executed").exists()


def test_names_that_are_no_characters(cell, folder, refused) -> None:
    x, y = quarters()
    np.savez(folder / "s.npz", x=x, y=y, classes=np.array([0x7FFFFFFF] * 4, np.uint32).view("<U1"))
    refused(cell.ask("samples", samples=str(folder / "s.npz")), "not text|cannot be read|not an .npz")


TEXTS = {
    "JSON in JSON": b"[" * 100_000,
    "a number of ten thousand digits": b'{"' + b"1" * 10_000 + b'": "cat"}',
    "a gap": b'{"0": "a", "99999999999999": "b"}',
    "lists as names": b'{"0": ' + b"[" * 500 + b"]" * 500 + b', "1": "b", "2": "b"}',
    "half a character": b'["\\ud800", "\\ud800"]',
    "bytes": bytes(range(256)),
    "empty lines": b"a\n\n\nb\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_labels(cell, folder, refused, name: str) -> None:
    (folder / "labels.txt").write_bytes(TEXTS[name])
    refused(cell.ask("labels", labels=str(folder / "labels.txt")), "--labels")


RULES = {
    "deep lists": b"version = 1\nrule = " + b"[" * 50_000,
    "deep tables": b"version = 1\n" + b"a." * 2_000 + b"b = 1\n",
    "a number of ten thousand digits": b"version = " + b"1" * 10_000,
    "a key of hostile letters": b'version = 1\n"\\u001b[2J\\u202e" = 1\nrule = []\n',
    "bytes": b"\xff\xfe",
}


@pytest.mark.parametrize("name", RULES)
def test_rules(cell, folder, refused, name: str) -> None:
    (folder / "r.toml").write_bytes(RULES[name])
    refused(cell.ask("rules", rules=[str(folder / "r.toml")]))
