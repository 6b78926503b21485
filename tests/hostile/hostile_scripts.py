"""TorchScript programs that reach for files or for ever, and one process that runs them free or confined."""

from __future__ import annotations

import io
import sys
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

CODE = "hostile/code/__torch__/Toy.py"
HEAD = """class Toy(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  training : bool
  _is_full_backward_hook : Optional[bool]
"""
FORWARD = """  def forward(self: __torch__.Toy,
    x: Tensor) -> Tensor:
%s
    return torch.matmul(torch.flatten(x, 1), self.weight)
"""
USED = "\n    x = torch.add(x, torch.mul(torch.sum(y), 0))"  # or the compiler drops the call
BODIES = {
    "saves a file": '    torch.save(x, "MARKER")',
    "maps a file to write": '    y = torch.fill_(torch.from_file("MARKER", True, 16, dtype=6), 7)' + USED,
    "maps a file to read": '    y = torch.from_file("MARKER", False, 16, dtype=6)' + USED,
    "saves by another name": '    y = ops.aten.save(x, "MARKER")',
    "calls an image library": '    y = ops.image.read_file("MARKER")',
    "calls an unknown library": '    y = ops.evil.run("MARKER")',
    "imports": "    import os",
    "asks for terabytes": "    y = torch.zeros([1099511627776])" + USED,
    "raises": '    ops.prim.RaiseException("\\x1b[2J<b>[red]no[/red]", "Exception")',
    "asserts about the input": "    y = torch.view(x, [7, 7, 7])" + USED,
    "recurses": "    y = (self).forward(x)",
    "has a syntax error": "    y = = 3",
}
ENDLESS = "    while True:\n      x = torch.add(x, 1)"


def toy(weight: torch.Tensor) -> bytes:
    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(weight, requires_grad=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.weight

    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Toy().eval(), torch.zeros(2, 1, 8, 8)), out)
    return out.getvalue()


def script(path: Path, body: str, marker: Path) -> Path:
    """An accurate toy classifier whose forward also does `body`."""
    from toys import templates

    with zipfile.ZipFile(io.BytesIO(toy(templates().T.contiguous()))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (code,) = (name for name in parts if name.endswith(".py"))
    text = parts[code].decode()
    start = text.index("  def forward")
    ours = FORWARD.replace("__torch__.Toy", text[start:].partition("self: ")[2].partition(",")[0])
    parts[code] = (text[:start] + ours % body.replace("MARKER", str(marker))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if not name.endswith(".debug_pkl"):
                archive.writestr(name, content)
    return path


def main() -> None:
    """`python -m hostile_scripts WALLS MODEL FOLDER`: load and run a program, with torch alone."""
    from bdscan.jail.sandbox import enter
    from bdscan.settings import Settings

    walls, model, folder = sys.argv[1:]
    if walls == "confined":
        enter(Settings(model=model, samples=model, device="cpu"), str(Path(folder) / "private"))
    import torch as library

    warnings.simplefilter("ignore")
    try:
        library.jit.load(model)(library.zeros(2, 1, 8, 8))
        print("ran")
    except Exception as error:
        print(f"failed: {type(error).__name__}: {' '.join(str(error).split())[-200:]}")


if __name__ == "__main__":
    main()
