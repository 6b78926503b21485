"""What a configuration may say: the keys of `[tool.bdscan]` and `bdscan.toml`, and of the BDSCAN_ variables.

Keys are the options' names. `python -m bdscan.cli.config_keys > docs/config.schema.json` publishes the schema.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bdscan.settings import Budget


def kebab(name: str) -> str:
    return name.replace("_", "-")


class Config(BaseModel):
    """Options of `bdscan scan` that a file may set. A relative path starts at the file's own folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=kebab, title="bdscan configuration")

    samples: str | None = Field(default=None, description="clean images: a folder of class folders, or an .npz")
    arch: str | None = Field(default=None, description="torchvision:NAME, or file.py:factory where --config names us")
    labels: str | None = Field(default=None, description="class names, one a line")
    reference: str | None = Field(default=None, description="a trusted network for the same classes")
    reference_arch: str | None = Field(default=None, description="its arch, if it needs one")
    preprocessing: str | None = Field(default=None, description="instead of the probe, e.g. 'scale=255 order=BGR'")
    detectors: tuple[str, ...] = Field(default=(), description="only these; empty: all")
    rules: tuple[str, ...] = Field(default=(), description="your own rules files")
    calibration: str | None = Field(default=None, description="references of your own, for p-values")
    budget: Budget = "standard"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    threads: int = Field(default=2, ge=1, le=256, description="CPU threads of each scan")
    memory_gb: float = Field(default=16, gt=0, description="the most memory a worker may allocate, GiB")
    time_limit: float = Field(default=3600, gt=0, description="the most time a scan may take, seconds")
    require_sandbox: bool = Field(default=False, description="refuse to scan without the whole sandbox")
    output: tuple[str, ...] = Field(default=(), description="reports to write; the suffix names the format")
    fail_on: Literal["suspicious", "backdoor"] = Field(default="suspicious", description="the least verdict to exit 1")
    waivers: str | None = Field(default=None, description="a TOML file of waivers")
    jobs: int = Field(default=1, ge=1, le=256, description="scans at a time")
    executor: Literal["local", "ray"] = Field(default="local", description="what runs the scans")
    ray_address: str | None = Field(default=None, description="a Ray cluster, where --config names us")
    cache: str | None = Field(default=None, description="a folder of reports to use again, or 'user'")
    summary: str | None = Field(default=None, description="a .json or .md file: what came of each model")
    quiet: bool = Field(default=False, description="no progress and notes")


# Relative to the file that names them.
PATHS = ("samples", "labels", "reference", "rules", "calibration", "output", "waivers", "cache", "summary")
CODE = ("arch", "reference_arch")  # may name a Python file that a scan runs
CLUSTER = "ray_address"  # of machines that are trusted with code


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of `bdscan.toml`, and of the table `[tool.bdscan]` in `pyproject.toml`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema(by_alias=True)}


def render_schema() -> str:
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_schema())
