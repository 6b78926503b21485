"""Reports of repairs as a repair could write them: no model is trained for them."""

from __future__ import annotations

import sample

from bdscan.repair.outcome import Accuracy, Cut, Rate, Relearn, Repair, Round, Strongest, Switch, TriggerEffect
from bdscan.report import Bars, Evidence, Failed, FileDigest, Label, Measured, Report, Skipped, Tool, Verdict

FAMILIES = ("sparse", "dense", "tone")


def rate(hits: int, n: int) -> Rate:
    return Rate(hits=hits, n=n)


def search(family: str, target: int | None, seed: int, *others: Evidence) -> Measured:
    bars = sample.bars(target, seed=seed).model_copy(update={"title": f"Trigger size by target class ({family})"})
    return Measured(name=f"inversion.{family}", summary="ten labels", evidence=(bars, *others))


def before() -> Report:
    """One universal trigger and a source-specific one, both with their parameters."""
    pair = sample.trigger(8).model_copy(update={"family": "tone", "sources": (sample.LABELS[1],)})
    specific = sample.SOURCE_SPECIFIC.model_copy(update={"evidence": (*sample.SOURCE_SPECIFIC.evidence, pair)})
    stages = tuple(search(family, 3, seed) for seed, family in enumerate(FAMILIES))
    return sample.report(findings=(sample.UNIVERSAL, specific, sample.WEAKNESS), stages=stages)


def after(**changes: object) -> Report:
    """A clean scan of the result; its search for tone triggers failed."""
    stages = (
        search("sparse", None, 11),
        search("dense", None, 12),
        Failed(name="inversion.tone", error="out of memory after 4 of 10 labels"),
        Skipped(name="sensitivity", reason="too few images"),
    )
    subject = sample.report().subject
    named = subject.model_copy(update={"path": "out/repaired.onnx", "digest": "1f" * 32})
    fields: dict[str, object] = {"stages": stages, "subject": named}
    return sample.clean().model_copy(update=fields | changes)


def file(path: str, start: str) -> FileDigest:
    return FileDigest(path=path, role="model", sha256=start * 8, bytes=214_113)


def repaired(**changes: object) -> Repair:
    fields: dict[str, object] = {
        "tool": Tool(version="0.1.0"),
        "outcome": "repaired",
        "summary": "The first trigger's success fell from 98% to 1%, and a new scan finds nothing.",
        "source": file("downloads/resnet18_cifar10.onnx", "9f2c1d7e"),
        "result": file("out/repaired.onnx", "44aa55bb"),
        "report_digest": "0c" * 32,
        "accuracy": Accuracy(before=rate(84, 90), after=rate(82, 90), lost=3, gained=1, p_value=0.3125),
        "triggers": (
            TriggerEffect(
                target=sample.LABELS[3],
                family="sparse",
                before=rate(73, 75),
                after=rate(1, 75),
                strongest=Strongest(before=rate(75, 75), after=rate(2, 75)),
            ),
            TriggerEffect(
                target=sample.LABELS[8],
                sources=(sample.LABELS[1],),
                family="tone",
                before=rate(8, 9),
                after=rate(0, 9),
            ),
            TriggerEffect(target=sample.LABELS[0], family="warp", before=rate(0, 0), after=rate(0, 0)),
        ),
        "relearn": Relearn(steps=20, poisoned=8, before=rate(1, 75), after=rate(30, 75), elsewhere=rate(45, 225)),
        "rounds": (
            Round(triggers=2, ratios={"sparse": 0.41, "dense": 0.72}, accuracy=rate(83, 90)),
            Round(triggers=4, ratios={"sparse": 1.04, "warp": 0.93}, accuracy=rate(82, 90)),
        ),
        "before": before(),
        "after": after(),
        "settings": {"seed": 0, "budget": "standard", "weaknesses": False, "max_accuracy_drop": 2.0, "note": None},
        "seconds": 312.4,
    }
    return Repair.model_validate(fields | changes)


def cut() -> Repair:
    """A branch in the graph, and nothing else."""
    switch = Switch(value="gate", made_by="Less", used_by=("Where", "Mul"), constant="false")
    return repaired(
        summary="The graph's branch was cut.",
        accuracy=Accuracy(before=rate(84, 90), after=rate(84, 90), lost=0, gained=0, p_value=1.0),
        triggers=(),
        relearn=None,
        rounds=(),
        cut=Cut(switches=(switch,), count=1, removed=7, images=180),
    )


def rejected() -> Repair:
    """Still alarming, and less accurate."""
    return repaired(
        outcome="rejected",
        reasons=(
            "the repaired model is still backdoor: a pattern of 16 pixels turns 61 % of held-out images into cat",
            "clean accuracy fell by 8.9 points on 90 held-out images (more than 2, p = 0.004)",
        ),
        summary="the repaired model is still backdoor",
        result=file("out/repaired.onnx.rejected", "44aa55bb"),
        accuracy=Accuracy(before=rate(84, 90), after=rate(76, 90), lost=8, gained=0, p_value=0.0039),
        relearn=None,
        after=after(
            verdict=Verdict.BACKDOOR,
            summary="A pattern of 16 pixels turns 61 % of held-out images into cat.",
            findings=(sample.UNIVERSAL, sample.WEAKNESS),
        ),
    )


def many(count: int) -> Repair:
    """`count` classes, triggers and rounds."""
    labels = tuple(Label(index=i, name=f"class {i:03d}") for i in range(count))
    effects = tuple(TriggerEffect(target=each, family="sparse", before=rate(9, 9), after=rate(0, 9)) for each in labels)
    one = Round(triggers=count, ratios={f"family {i}": 1.0 for i in range(count)}, accuracy=rate(82, 90))

    def wide(report: Report) -> Report:
        stages = tuple(Measured(name=f"inversion.f{i}", evidence=(sample.bars(3, count),)) for i in range(3))
        return report.model_copy(update={"stages": stages})

    return repaired(triggers=effects, rounds=(one,) * count, before=wide(before()), after=wide(after()))


def hostile(text: str) -> Repair:
    """`text` wherever a model file, its worker or a forged report could have put it."""
    bad = Label(index=3, name=text[:300])
    scan = sample.hostile(text)
    bars = Bars(title=text, unit=text, bars=(sample.Bar(label=bad, value=2.0),), reference=1.0, reference_name=text)
    stages = (*scan.stages, Measured(name=f"inversion.{text[:200]}", summary=text, evidence=(bars,)))
    failed = (*scan.stages, Failed(name=f"inversion.{text[:200]}", error=text))
    effect = TriggerEffect(target=bad, sources=(bad,), family=text[:300], before=rate(9, 9), after=rate(1, 9))
    digest = FileDigest(path=text, role="model", sha256="ab" * 32, bytes=1)
    return repaired(
        tool=Tool(version=text[:300]),
        outcome="rejected",
        reasons=(text, text),
        summary=text,
        source=digest,
        result=digest,
        triggers=(effect, effect.model_copy(update={"target": sample.LABELS[5]})),
        cut=Cut(
            switches=(Switch(value=text[:300], made_by=text[:300], used_by=(text[:300],), constant=text[:300]),) * 30,
            count=40,
            removed=1,
            images=2,
        ),
        rounds=(Round(triggers=1, ratios={text[:300]: 0.5}, accuracy=rate(1, 2)),),
        before=scan.model_copy(update={"stages": stages}),
        after=scan.model_copy(update={"stages": failed}),
        settings={text: text, "max_accuracy_drop": text},
    )


REPAIRS = {"repaired": repaired, "rejected": rejected, "cut": cut}
