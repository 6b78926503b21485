"""Write the real `bdscan scan --help` into README.md (`make readme`); tests/test_readme.py holds it there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BEGIN, END = "<!-- help:begin -->\n", "<!-- help:end -->"
CODE = "from bdscan.cli.main import app; app(prog_name='bdscan')"


def real_help(*arguments: str) -> str:
    """The help as a terminal of 80 columns shows it."""
    environment = os.environ | {"COLUMNS": "80", "TERM": "dumb"}
    command = [sys.executable, "-c", CODE, *arguments, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


def with_help(readme: str) -> str:
    """`readme` with the block between the marks replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}```text\n{real_help('scan').rstrip()}\n```\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_help(path.read_text()))
