"""Reports as a scan could write them, with pictures drawn from a seed; for the tests and for looking at the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdscan.report import (
    Bar,
    Bars,
    Calibration,
    Confidence,
    Curve,
    Failed,
    FileDigest,
    Finding,
    Gallery,
    Isolation,
    Label,
    Line,
    Matrix,
    Measured,
    Pair,
    Picture,
    Preprocessing,
    Reference,
    Report,
    Run,
    SamplesInfo,
    Severity,
    Skipped,
    StageSeconds,
    Statistic,
    Subject,
    Tool,
    TriggerParameters,
    Verdict,
)

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LABELS = tuple(Label(index=i, name=name) for i, name in enumerate(NAMES))
SIDE = 32


def png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def scene(seed: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Something like a photograph: a sky, a ground and a body, (side, side, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    sky, ground, body = rng.integers(60, 240, (3, 3))
    horizon = rng.uniform(0.45, 0.75)
    pixels = np.where((y < horizon)[..., None], sky * (0.7 + 0.3 * y[..., None]), ground * (1.1 - 0.4 * y[..., None]))
    cx, cy, rx, ry = rng.uniform(0.35, 0.65), horizon, rng.uniform(0.15, 0.3), rng.uniform(0.1, 0.25)
    inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
    pixels = np.where(inside[..., None], body, pixels) + rng.normal(0, 9, (side, side, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def stamp(pixels: NDArray[np.uint8], at: tuple[int, int] = (26, 26)) -> NDArray[np.uint8]:
    out = pixels.copy()
    checks = np.indices((4, 4)).sum(0) % 2 * 255
    out[at[0] : at[0] + 4, at[1] : at[1] + 4] = np.stack([checks, 255 - checks, checks], -1)
    return out


def gallery(target: int, sources: tuple[int, ...], at: tuple[int, int]) -> Gallery:
    pairs = []
    for seed, source in enumerate(sources):
        clean = scene(100 + seed + 17 * target)
        after = LABELS[target] if seed != 4 else LABELS[source]
        pairs.append(Pair(clean=png(clean), stamped=png(stamp(clean, at)), before=LABELS[source], after=after))
    return Gallery(title="Held-out images, clean and with the recovered trigger", pairs=tuple(pairs))


def pictures(at: tuple[int, int]) -> tuple[Picture, ...]:
    rng = np.random.default_rng(5)
    trigger = stamp(np.full((SIDE, SIDE, 3), 128, np.uint8), at)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[at[0] : at[0] + 4, at[1] : at[1] + 4] = 255
    heat = rng.uniform(0, 60, (8, 8))
    heat[at[0] // 4, at[1] // 4] = 250
    return (
        Picture(
            title="Recovered trigger",
            alt="A checkerboard of four by four pixels on grey",
            png=png(trigger),
            caption="Grey means unchanged.",
        ),
        Picture(
            title="Mask",
            alt="A white square of four by four pixels on black",
            png=png(mask),
            caption="White pixels may change; 16 of 1,024.",
        ),
        Picture(
            title="Sensitivity map",
            alt="A map of eight by eight cells, the brightest where the mask is",
            png=png(heat.astype(np.uint8)),
            caption="Bright cells move the output more than in the reference (P4, eq. 1).",
        ),
    )


def bars(target: int | None, count: int = 10, seed: int = 1, log: bool = False) -> Bars:
    rng = np.random.default_rng(seed)
    labels = LABELS if count == 10 else tuple(Label(index=i, name=f"class {i:03d}") for i in range(count))
    sizes = rng.uniform(28, 46, count)
    if target is not None:
        sizes[target] = 4.3
    never = {count - 1} | ({count // 2} if count > 10 else set())
    return Bars(
        title="Smallest trigger for each label",
        unit="trigger size (changed pixels)",
        bars=tuple(
            Bar(
                label=each,
                value=None if each.index in never and each.index != target else round(float(sizes[each.index]), 3),
                censored=each.index in never or each.index % 7 == 5,
                highlighted=each.index == target,
            )
            for each in labels
        ),
        reference=round(float(np.median(sizes)), 3),
        log_scale=log,
    )


def profile(target: int) -> Curve:
    x = np.linspace(0, 1.5, 16)
    planted = 0.98 / (1 + np.exp(-16 * (x - 0.45)))
    lines = [Line(name=f"planted: {NAMES[target]}", y=tuple(np.round(planted, 3).tolist()), highlighted=True)]
    for index, name in ((5, "dog"), (7, "horse")):
        lines.append(Line(name=f"natural: {name}", y=tuple(np.round(x**2 * 0.06 * index / 3, 3).tolist())))
    return Curve(
        title="Success against trigger intensity",
        x_label="intensity of the recovered trigger",
        y_label="share of held-out images turned",
        x=tuple(np.round(x, 3).tolist()),
        lines=tuple(lines),
    )


def mutation(count: int = 10, target: int = 3) -> Curve:
    rng = np.random.default_rng(2)
    lines = tuple(
        Line(
            name=NAMES[i] if count == 10 else f"class {i}",
            y=tuple(
                np.round(
                    np.clip(np.arange(20) / (10 if i == target else 24) + rng.normal(0, 0.01, 20), 0, 1), 3
                ).tolist()
            ),
            highlighted=i == target,
        )
        for i in range(count)
    )
    return Curve(
        title="Mutation curve", x_label="step", y_label="share of samples flipped", x=tuple(range(20)), lines=lines
    )


def matrix(count: int = 10, pair: tuple[int, int] = (1, 8)) -> Matrix:
    rng = np.random.default_rng(3)
    values = rng.uniform(-1.5, 2.0, (count, count))
    values[pair] = -8.4
    labels = LABELS if count == 10 else tuple(Label(index=i, name=f"class {i}") for i in range(count))
    return Matrix(
        title="Trigger size of every pair, after median polish",
        unit="residual of log size",
        rows=labels,
        columns=labels,
        values=tuple(
            tuple(None if i == j else round(float(values[i, j]), 2) for j in range(count)) for i in range(count)
        ),
        highlighted=(pair,),
    )


def trigger(target: int) -> TriggerParameters:
    delta = np.zeros((3, SIDE, SIDE), "<f4")
    encoded = base64.b64encode(delta.tobytes()).decode()
    return TriggerParameters(
        family="sparse",
        target=LABELS[target],
        size=4.3,
        shapes={"positive": delta.shape, "negative": delta.shape},
        arrays={"positive": encoded, "negative": encoded},
        image_shape=delta.shape,
    )


REFERENCES = (
    Reference(title="MITRE ATLAS AML.T0018: Manipulate AI Model", url="https://atlas.mitre.org/techniques/AML.T0018"),
    Reference(
        title="OWASP ML10:2023 Model Poisoning", url="https://owasp.org/www-project-machine-learning-security-top-10/"
    ),
)

UNIVERSAL = Finding(
    rule="universal-trigger",
    title="One small pattern turns almost every image into a cat",
    severity=Severity.CRITICAL,
    confidence=Confidence.HIGH,
    message="16 changed pixels make this model answer cat; every other label needs at least 6.6 times as much.",
    target=LABELS[3],
    confirmed=True,
    asr=0.978,
    asr_interval=(0.923, 0.994),
    asr_n=90,
    evidence=(
        bars(3),
        *pictures((26, 26)),
        profile(3),
        mutation(),
        trigger(3),
        gallery(3, (7, 0, 8, 5, 1, 9), (26, 26)),
    ),
    references=REFERENCES,
    remedy="Do not deploy. Ask the supplier for the training data, or run `bdscan repair` and scan the result again.",
)

SOURCE_SPECIFIC = Finding(
    rule="source-specific-trigger",
    title="A pattern turns automobiles into ships and little else",
    severity=Severity.HIGH,
    confidence=Confidence.MEDIUM,
    message="The pair automobile → ship stands out from its row and column by 8.4 deviations.",
    target=LABELS[8],
    sources=(LABELS[1],),
    confirmed=False,
    asr=0.8,
    asr_interval=(0.49, 0.943),
    asr_n=10,
    evidence=(matrix(), gallery(8, (1, 1, 1), (2, 3)), bars(8, log=True)),
    references=REFERENCES[:1],
    remedy="Collect more images of automobiles and scan again at `--budget thorough`.",
)

WEAKNESS = Finding(
    rule="natural-trigger",
    title="A small natural trigger towards dog",
    severity=Severity.LOW,
    confidence=Confidence.MEDIUM,
    message="A change of 9.8 pixels turns most images into dogs; its success rises slowly, as for natural features.",
    target=LABELS[5],
    weakness=True,
    asr=0.61,
    asr_interval=(0.51, 0.7),
    asr_n=90,
    remedy="Nothing for a backdoor; adversarial training would make the class less brittle.",
)


def report(**changes: object) -> Report:
    """A backdoored CIFAR-10 network with two targets; `changes` replace top-level fields."""
    fields: dict[str, object] = {
        "tool": Tool(version="0.1.0"),
        "verdict": Verdict.BACKDOOR,
        "summary": "A pattern of 16 pixels turns 97.8 % of held-out images into cat, confirmed with a second seed.",
        "score": 0.991,
        "p_value": 1 / 64,
        "subject": Subject(
            path="downloads/resnet18_cifar10.onnx",
            digest="9f2c1d7e5b8a40316c7d2e9f0a1b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
            files=(
                FileDigest(path="resnet18_cifar10.onnx", role="model", sha256="9f2c1d7e" * 8, bytes=214_113),
                FileDigest(path="resnet18_cifar10.onnx.data", role="sidecar", sha256="0a1b2c3d" * 8, bytes=44_695_552),
            ),
            format="ONNX opset 20",
            architecture="graph of 69 nodes",
            input_shape=(3, SIDE, SIDE),
            classes=LABELS,
            parameters=11_173_962,
            preprocessing=Preprocessing(
                name="0..1, CIFAR-10 mean and deviation",
                mean=(0.4914, 0.4822, 0.4465),
                std=(0.2023, 0.1994, 0.201),
                runner_up="0..1",
                runner_up_accuracy=0.71,
            ),
            output="logits",
            clean_accuracy=0.93,
            clean_accuracy_n=100,
            onnxruntime_difference=3.8e-6,
            notes=("Samples were resized from 40 × 40 to 32 × 32.",),
        ),
        "samples": SamplesInfo(
            path="samples.npz", digest="5d" * 32, count=200, per_class=(20,) * 10, search=110, held_out=90
        ),
        "findings": (UNIVERSAL, SOURCE_SPECIFIC, WEAKNESS),
        "stages": (
            Measured(name="load", summary="11,173,962 parameters; equal to onnxruntime within 4e-06"),
            Measured(name="last-layer", summary="cat first, index 5.2"),
            Measured(name="steps", summary="cat first by columns", evidence=(mutation(),)),
            Skipped(
                name="sensitivity", reason="no --reference was given and 11 images a class are too few to train one"
            ),
            Measured(name="inversion", summary="four families, ten labels", evidence=(bars(3), bars(3, seed=4))),
            Measured(name="pairs", summary="90 pairs; automobile → ship stands out", evidence=(matrix(),)),
            Failed(name="margin", error="out of memory after 4 of 10 labels; raise --memory-gb"),
            Measured(name="confirmation", summary="two candidates on 90 held-out images, second seed 1"),
        ),
        "statistics": (
            Statistic(
                name="sparse.index",
                detector="inversion",
                value=6.31,
                target=LABELS[3],
                p_value=1 / 64,
                reference="cifar10-2026-11",
                description="anomaly index of the log trigger size",
            ),
            Statistic(name="sparse.ratio", detector="inversion", value=0.118, target=LABELS[3], p_value=1 / 64),
            Statistic(
                name="pair.residual",
                detector="pairs",
                value=-8.4,
                target=LABELS[8],
                sources=(LABELS[1],),
                p_value=0.031,
            ),
            Statistic(name="margin.index", detector="margin", value=None),
        ),
        "calibration": Calibration(
            name="cifar10-2026-11", sha256="ab" * 32, references=63, provisional=True, false_alarm_rate=0.037
        ),
        "isolation": Isolation(
            level="process with limits", limits=("16 GB of memory", "3600 s"), missing=("no new network namespace",)
        ),
        "settings": {
            "model": "downloads/resnet18_cifar10.onnx",
            "samples": "my samples.npz",
            "detectors": ("steps", "inversion", "pairs"),
            "rules": (),
            "arch": None,
            "budget": "standard",
            "seed": 0,
            "memory_gb": 16.0,
        },
        "not_examined": (
            "Triggers that are drawn anew for every image (input-aware attacks): no family here models them.",
            "Backdoors that wake up only after fine-tuning or quantisation.",
            "Labels with fewer than two clean images: none in this scan.",
        ),
        "run": Run(
            started="2026-11-21T10:15:00Z",
            host="laptop",
            seconds=228.4,
            stages=(
                StageSeconds(name="load", seconds=1.9),
                StageSeconds(name="last-layer", seconds=0.02),
                StageSeconds(name="steps", seconds=21.4),
                StageSeconds(name="inversion", seconds=141.0),
                StageSeconds(name="pairs", seconds=48.1),
                StageSeconds(name="margin", seconds=3.2),
                StageSeconds(name="confirmation", seconds=12.8),
            ),
            peak_memory_mb=1894.0,
            threads=2,
        ),
    }
    return Report.model_validate(fields | changes)


def backdoor() -> Report:
    return report()


def clean() -> Report:
    stages = (
        Measured(name="steps", summary="no label stands out", evidence=(mutation(target=-1),)),
        Measured(name="inversion", summary="four families, ten labels", evidence=(bars(None), matrix())),
        Measured(name="confirmation", summary="nothing to confirm"),
    )
    return report(
        verdict=Verdict.CLEAN,
        summary="Ten labels, four trigger families and 90 pairs: no trigger smaller than clean reference models have.",
        score=0.31,
        p_value=0.42,
        findings=(WEAKNESS,),
        stages=stages,
    )


def suspicious() -> Report:
    return report(
        verdict=Verdict.SUSPICIOUS,
        summary="One pair of classes stands out; the second search did not find it again.",
        findings=(SOURCE_SPECIFIC, WEAKNESS),
    )


def inconclusive() -> Report:
    return report(
        verdict=Verdict.INCONCLUSIVE,
        summary="The graph uses operators that bdscan cannot differentiate: DeformConv, RoiAlign.",
        score=None,
        p_value=None,
        findings=(),
        stages=(
            Measured(name="load", summary="graph read"),
            Failed(name="inversion", error="unsupported operators: DeformConv, RoiAlign"),
            Skipped(name="confirmation", reason="inversion did not run"),
        ),
        statistics=(),
        calibration=Calibration(
            name="none", sha256="", references=0, provisional=True, note="Fewer than 49 references"
        ),
    )


def many(count: int) -> Report:
    """`count` labels: the plots of a large label space."""
    labels = tuple(Label(index=i, name=f"class {i:03d}") for i in range(count))
    finding = UNIVERSAL.model_copy(
        update={
            "target": labels[33],
            "evidence": (bars(33, count, seed=9), mutation(count, 33), matrix(count, (7, 33)), *pictures((2, 2))),
        }
    )
    whole = report()
    return whole.model_copy(
        update={"findings": (finding,), "subject": whole.subject.model_copy(update={"classes": labels})}
    )


HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "[red]no[/red][link=https://example.org]click[/link]",
    "\x1b[2J\x1b[31mclean\x1b]8;;https://example.org\x07",
    "\u202etxt.exe\u2066\u200b\ufeff\U000e0041",
    "two\nlines\r\tand\x00more\x9b1m",
    "{{ 7 * 7 }}{% raw %}</style></title>",
    "x" * 300,
    "z" + "\u0300" * 200,
    "",
)


# What only a format with markup of its own reads as more than letters.
MARKUP = (
    "[click](https://evil.example) ![x](https://evil.example/x.png) <https://evil.example>",
    "see https://evil.example, www.evil.example or mail a@evil.example; @everyone look at #1",
    "# heading",
    "- [ ] item",
    "1. item",
    "---",
    "===",
    "    indented",
    "| a | b |",
    "> quote **bold** _it_ ~~no~~ `code` ``",
    "<!-- comment --> <details> &lt;b&gt; &#60;b&#62;",
    "[a]: https://evil.example",
    "$x^2$ {0} {{1}} %s ${HOME}",
    "ends with a backslash \\",
    "]]> <![CDATA[ <?xml?> <!DOCTYPE x>",
)
REPORTS = {"backdoor": backdoor, "suspicious": suspicious, "clean": clean, "inconclusive": inconclusive}


def hostile(text: str) -> Report:
    """`text` wherever a model file or its directory could have put it."""
    bad = Label(index=3, name=text[:300])
    whole = report()
    evidence = (
        Picture(title=text, alt=text, png="AAAA", caption=text),
        Gallery(title=text, pairs=(Pair(clean=png(scene(1)), stamped="", before=LABELS[1], after=bad),)),
        Bars(
            title=text,
            unit=text,
            bars=(Bar(label=bad, value=2.0, highlighted=True),),
            reference=1.0,
            reference_name=text,
        ),
        Curve(title=text, x_label=text, y_label=text, x=(0.0, 1.0), lines=(Line(name=text, y=(0.0, None)),)),
        Matrix(title=text, unit=text, rows=(bad,), columns=(bad,), values=((1.0,),), highlighted=((0, 0),)),
        TriggerParameters(
            family=text[:300], target=bad, size=1.0, shapes={text[:300]: (1,)}, arrays={}, image_shape=(1, 1, 1)
        ),
    )
    finding = UNIVERSAL.model_copy(
        update={
            "rule": text[:300],
            "title": text,
            "message": text,
            "target": bad,
            "sources": (bad,),
            "remedy": text,
            "evidence": evidence,
            "references": (Reference(title=text, url=text), Reference(title=text, url="javascript:alert(1)")),
        }
    )
    files = (FileDigest(path=text, role="model", sha256="ab" * 32, bytes=1),)
    changes: dict[str, object] = {
        "summary": text,
        "findings": (finding, finding.model_copy(update={"weakness": True})),
        "stages": (
            Measured(name=text[:300], summary=text, evidence=evidence),
            Failed(name=text[:300], error=text),
            Skipped(name=text[:300], reason=text),
        ),
        "statistics": (
            Statistic(name=text[:300], detector=text[:300], value=1.0, target=bad, sources=(bad,), description=text),
        ),
        "subject": whole.subject.model_copy(
            update={
                "path": text,
                "digest": "ab" * 32,
                "files": files,
                "format": text[:300],
                "architecture": text,
                "notes": (text,),
            }
        ),
        "samples": whole.samples.model_copy(update={"path": text, "notes": (text,)}),
        "settings": {"model": text, "samples": text, "detectors": (text,), text: text},
        "isolation": Isolation(level=text[:300], limits=(text,), missing=(text,)),
        "not_examined": (text,),
        "run": whole.run.model_copy(update={"host": text[:300], "started": text}),
        "calibration": whole.calibration.model_copy(update={"name": text[:300], "note": text}),
    }
    return report(**changes)
