"""The code of a TorchScript archive, looked at before it is loaded: loading already runs parts of it.

The operators that touch files are few and known by name. Names can be hidden from a look at text; the sandbox around
the worker is what holds, this gives a clear answer and helps where there is no sandbox.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from bdscan.errors import CannotJudge

MEMBER = re.compile(r"[^/]+/code/.*\.py")
FILES = re.compile(r"\b(?:torch|ops\.\w+|aten)\.(save|from_file|read_file|write_file|load)\s*\(")
KNOWN = "prim|aten|torchvision|quantized|mkldnn|onednn|prepacked|mkldnn_prepacked"
OTHERS = re.compile(rf"\bops\.(?!(?:{KNOWN})\b)(\w+)\.(\w+)")


def check_script_code(path: Path) -> None:
    """CannotJudge where the program opens files or calls unknown operators. The archive itself is checked before."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not MEMBER.fullmatch(member.filename):
                continue
            text = archive.read(member).decode("utf-8", "replace")
            found = FILES.search(text)
            if found:
                raise CannotJudge(f"model {path}: the TorchScript program opens files ({found[1]}); refused to run it")
            other = OTHERS.search(text)
            if other:
                name = f"{other[1]}.{other[2]}"[:100]
                raise CannotJudge(f"model {path}: the TorchScript program calls {name}, which is not a known operator")
