"""Zip archives that torch reads: refused where two readers could see two different files in them, or they are bombs."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Final

from bdscan.errors import UsageError

CHUNK: Final = 2**20
MOST_MEMBERS: Final = 200_000
LARGEST_PACKED: Final = 64 * 2**20  # of a compressed member: TorchScript packs its code, weights lie as they are
MOST_PACKED: Final = 256 * 2**20  # of all of them together
LOCAL_HEADER: Final = 30
ENCRYPTED: Final = 1


def check_archive(path: Path) -> None:
    """UsageError unless the archive is one that torch could have written and is whole (its CRCs are right)."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            fault = _fault(members) or ("a comment at its end" if archive.comment else "")
            if not fault:
                fault = _damage(archive, members)
    except UsageError:
        raise
    except Exception as error:  # zipfile and zlib meet hostile bytes: any type of error may come out
        raise UsageError(f"model {path}: a truncated or damaged PyTorch file ({_line(error)})") from None
    if fault:
        raise UsageError(f"model {path}: not an archive that torch writes ({fault}): save it again with torch.save")


def _fault(members: list[zipfile.ZipInfo]) -> str:
    """What is wrong with the directory, or nothing."""
    if len(members) > MOST_MEMBERS:
        return f"{len(members)} members"
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"two members named {twice[:100]!r}"
    if len({name.partition("/")[0] for name in names}) != 1:
        return "several archives in one"
    for member in members:
        if member.flag_bits & ENCRYPTED:
            return f"{member.filename[:100]!r} is encrypted"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"{member.filename[:100]!r} is compressed in an unusual way"
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            return f"{member.filename[:100]!r} has two sizes"
    packed = [member.file_size for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed and (max(packed) > LARGEST_PACKED or sum(packed) > MOST_PACKED):
        return "compressed members that unpack to hundreds of megabytes"
    placed = sorted(members, key=lambda member: member.header_offset)
    if placed and placed[0].header_offset != 0:
        return "something before its first member"
    for first, second in pairwise(placed):
        least = first.header_offset + LOCAL_HEADER + len(first.filename.encode()) + first.compress_size
        if least > second.header_offset:
            return f"{second.filename[:100]!r} lies within another member"
    return ""


def _damage(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> str:
    """The first member whose content is not what the directory says, or nothing."""
    for member in members:
        try:
            with archive.open(member) as stream:
                while stream.read(CHUNK):  # its end compares the CRC
                    pass
        except zipfile.BadZipFile as error:
            return f"{member.filename[:100]!r}: {_line(error)}"
    return ""


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
