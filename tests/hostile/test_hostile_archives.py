"""Zip files in which two readers would see two models, bombs, and archives of other kinds."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from hostile_archives import ARCHIVES, members, module, write, zipped
from toys import toy, write_npz


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive(cell, folder, refused, name: str) -> None:
    path = write(name, folder)
    refused(cell.ask("model", model=str(path)), ARCHIVES[name][1])
    assert not list(folder.glob("executed*"))
    assert not Path("executed").exists()


def test_the_same_members_in_an_honest_archive_load(cell, folder) -> None:
    """The counterpart: the refusals are not for being repacked."""
    (folder / "good.pt").write_bytes(zipped(list(members(module()).items())))
    (folder / "packed.pt").write_bytes(zipped(list(members(module()).items()), zipfile.ZIP_DEFLATED))
    torch.save(toy(), folder / "plain.pt")
    samples = write_npz(folder / "samples.npz")
    for name in ("good.pt", "packed.pt", "plain.pt"):
        assert cell.ask("load", model=str(folder / name), samples=str(samples)).kind == "loaded"
