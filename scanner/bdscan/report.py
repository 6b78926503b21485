"""The report: every value a scan may say, frozen and validated. No torch in here.

The models are pydantic's because the same classes do three jobs: the typed result in a process, the published JSON
schema, and the check of what the worker process (which parsed a hostile file) sends to its parent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = "1.0"

Text = Annotated[str, Field(max_length=4000)]
Name = Annotated[str, Field(max_length=300)]
Digest = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Base64 = Annotated[str, Field(max_length=24_000_000, pattern=r"^[A-Za-z0-9+/=]*$")]

COMPARISON = "comparison"  # the stage that lacks where samples are of too few classes to compare them


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Verdict(StrEnum):
    """What was decided. Order of alarm: clean < inconclusive < suspicious < backdoor."""

    CLEAN = "clean"
    INCONCLUSIVE = "inconclusive"
    SUSPICIOUS = "suspicious"
    BACKDOOR = "backdoor"


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Confidence(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Label(Value):
    """A class of the model: its output index and its name."""

    index: int
    name: Name


# --- evidence: what a reader can look at -----------------------------------------------------------------------------


class Picture(Value):
    """A PNG (base64) with a caption; `alt` describes it for those who cannot see it."""

    kind: Literal["picture"] = "picture"
    title: Text
    alt: Text
    png: Base64
    caption: Text = ""


class Pair(Value):
    """One clean image and the same image stamped, with what the model says of each."""

    clean: Base64
    stamped: Base64
    before: Label
    after: Label


class Gallery(Value):
    """Clean and stamped images side by side (held-out images only)."""

    kind: Literal["gallery"] = "gallery"
    title: Text
    pairs: tuple[Pair, ...]


class Bar(Value):
    label: Label
    value: float | None  # None: the label never reached the goal (censored)
    censored: bool = False
    highlighted: bool = False


class Bars(Value):
    """One value per label, e.g. the trigger size; `reference` is a line to compare with (the median)."""

    kind: Literal["bars"] = "bars"
    title: Text
    unit: Text
    bars: tuple[Bar, ...]
    reference: float | None = None
    reference_name: Text = "median"
    log_scale: bool = False


class Line(Value):
    name: Text
    y: tuple[float | None, ...]
    highlighted: bool = False


class Curve(Value):
    """Lines over a common x axis: mutation curve, intensity profile."""

    kind: Literal["curve"] = "curve"
    title: Text
    x_label: Text
    y_label: Text
    x: tuple[float, ...]
    lines: tuple[Line, ...]


class Matrix(Value):
    """A table of numbers with row and column labels (source x target)."""

    kind: Literal["matrix"] = "matrix"
    title: Text
    unit: Text
    rows: tuple[Label, ...]
    columns: tuple[Label, ...]
    values: tuple[tuple[float | None, ...], ...]
    highlighted: tuple[tuple[int, int], ...] = ()  # positions (row, column)


class TriggerParameters(Value):
    """A recovered trigger, complete: what `render`, `repair` and `profile` need to stamp it again.

    `arrays` holds little-endian float32 values in base64, `shapes` their shapes, under the family's own names.
    """

    kind: Literal["trigger"] = "trigger"
    family: Name
    target: Label
    sources: tuple[Label, ...] = ()
    size: float
    shapes: dict[Name, tuple[int, ...]]
    arrays: dict[Name, Base64]
    image_shape: tuple[int, int, int]  # C, H, W


Evidence = Annotated[Picture | Gallery | Bars | Curve | Matrix | TriggerParameters, Field(discriminator="kind")]


# --- what was measured -----------------------------------------------------------------------------------------------


class Statistic(Value):
    """A number that a detector returned. `p_value` and `reference` are set by the calibration, never by a detector."""

    name: Name
    detector: Name
    value: float | None
    description: Text = ""
    target: Label | None = None
    sources: tuple[Label, ...] = ()
    p_value: Share | None = None
    reference: Name | None = None


class Measured(Value):
    outcome: Literal["measured"] = "measured"
    name: Name
    summary: Text = ""
    evidence: tuple[Evidence, ...] = ()


class Skipped(Value):
    outcome: Literal["skipped"] = "skipped"
    name: Name
    reason: Text


class Failed(Value):
    outcome: Literal["failed"] = "failed"
    name: Name
    error: Text


Stage = Annotated[Measured | Skipped | Failed, Field(discriminator="outcome")]


# --- what was found --------------------------------------------------------------------------------------------------


class Reference(Value):
    title: Text
    url: Text = ""


class Waived(Value):
    """That somebody takes responsibility for a finding: it stays in the report, and does not count for a pipeline."""

    reason: Text
    expires: Name  # YYYY-MM-DD, its last day (UTC)


class Finding(Value):
    """A rule that fired. `weakness` findings never raise the verdict, and `waived` ones do not lower it."""

    rule: Name
    title: Text
    severity: Severity
    confidence: Confidence
    message: Text
    target: Label | None = None
    sources: tuple[Label, ...] = ()
    confirmed: bool = False
    weakness: bool = False
    asr: Share | None = Field(default=None, description="held-out attack success rate")
    asr_interval: tuple[Share, Share] | None = None  # 95 % Wilson interval
    asr_n: Count | None = None
    evidence: tuple[Evidence, ...] = ()
    references: tuple[Reference, ...] = ()
    remedy: Text = ""
    waived: Waived | None = None


class Waiver(Value):
    """A waiver that the scan was given, and what came of it. `other-model`: it is for another subject's digest."""

    rule: Name
    digest: Digest
    reason: Text
    expires: Name
    state: Literal["applied", "expired", "unused", "other-model"]


# --- what was looked at ----------------------------------------------------------------------------------------------


class FileDigest(Value):
    path: Text
    role: Literal["model", "sidecar", "arch", "labels", "reference"]
    sha256: Digest
    bytes: Count


class Preprocessing(Value):
    """How pixels are presented to the model: x in [0,1] -> (x * scale - mean) / std, channel order, layout."""

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: Literal["RGB", "BGR", "grey"] = "RGB"
    layout: Literal["NCHW", "NHWC", "flat"] = "NCHW"
    name: Text = "0..1"
    source: Literal["probe", "given"] = "probe"
    runner_up: Text = ""
    runner_up_accuracy: Share | None = None


class Subject(Value):
    path: Text
    digest: Digest
    files: tuple[FileDigest, ...]
    format: Name
    architecture: Text = ""
    input_shape: tuple[int, int, int]  # C, H, W
    classes: tuple[Label, ...]
    parameters: Count
    preprocessing: Preprocessing
    output: Literal["logits", "probabilities", "log-probabilities"]
    clean_accuracy: Share
    clean_accuracy_n: Count
    onnxruntime_difference: float | None = None
    notes: tuple[Text, ...] = ()


class SamplesInfo(Value):
    path: Text
    digest: Digest
    count: Count
    per_class: tuple[Count, ...]
    search: Count
    held_out: Count
    notes: tuple[Text, ...] = ()


class Calibration(Value):
    name: Name
    sha256: Digest
    references: Count
    provisional: bool
    false_alarm_rate: Share | None = None
    note: Text = ""


class RulesUsed(Value):
    """What turned numbers into findings: one SHA-256 over the built-in rules files and the user's, in their order."""

    sha256: Digest
    own: Count = 0  # how many of the files are the user's


class Isolation(Value):
    level: Name
    limits: tuple[Text, ...] = ()
    missing: tuple[Text, ...] = ()


class Tool(Value):
    name: Literal["bdscan"] = "bdscan"
    version: Name


class StageSeconds(Value):
    name: Name
    seconds: float


class Run(Value):
    """The only part that may differ between two runs of one command on one machine."""

    started: Text
    host: Name
    seconds: float
    stages: tuple[StageSeconds, ...]
    peak_memory_mb: float | None = None
    device: Name = "cpu"
    threads: int = 1
    outputs: tuple[Text, ...] = ()
    model_in_repository: Text = ""  # the model's path from the root of the repository; empty: outside, or not known
    jobs: int = 1
    cache: Name = "off"  # or "miss", or "hit": the scan itself ran earlier, at `started`
    config: Text = ""  # the file that options came from


class Report(Value):
    schema_version: Literal["1.0"] = "1.0"
    tool: Tool
    verdict: Verdict
    summary: Text  # one sentence: why this verdict
    score: float | None
    p_value: Share | None
    subject: Subject
    samples: SamplesInfo
    findings: tuple[Finding, ...]
    stages: tuple[Stage, ...]
    statistics: tuple[Statistic, ...]
    lacking: tuple[Name, ...] = ()  # stages that a clean verdict needs and that did not measure
    waivers: tuple[Waiver, ...] = ()
    rules: RulesUsed | None = None
    calibration: Calibration
    isolation: Isolation
    settings: dict[str, str | int | float | bool | tuple[str, ...] | None]
    not_examined: tuple[Text, ...] = ()
    run: Run
