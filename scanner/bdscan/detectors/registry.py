"""All detectors in the order of a scan: cheap ones first, since they rank the labels for the others."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from bdscan.detectors import confirmation, graph, last_layer, margin, sensitivity, steps, unexplained
from bdscan.detectors.interface import About, Budget, CouldNotRun, Detector, Hints, Measurement, Progress
from bdscan.detectors.inversion import lean, pairs, waves
from bdscan.detectors.inversion.families import FAMILIES, lit, sparse
from bdscan.detectors.inversion.universal import UniversalInversion
from bdscan.intake.classifier import Scannable

FINDS = {
    "sparse": ("patches and scattered pixels", "faint whole-image patterns, warps, tones"),
    "dense": ("blended images, sine waves, watermarks", "warps, tones"),
    "warp": ("smooth warps (WaNet)", "everything that is not a displacement"),
    "tone": ("filters, bit depth, colour casts", "everything that has a place in the image"),
}
INVERSION_NEEDS = "input gradients and clean images"


@dataclass(frozen=True)
class Module:
    """A detector whose state is none: a module with `about` and `run`."""

    about: About
    module: ModuleType

    def run(self, subject: Scannable, budget: Budget, hints: Hints, progress: Progress) -> Measurement | CouldNotRun:
        result: Measurement | CouldNotRun = self.module.run(subject, budget, hints, progress)
        return result


def _family(name: str) -> UniversalInversion:
    finds, misses = FINDS[name]
    source = "P1, eq. 3-5" if name == "sparse" else "P1's loop over another trigger family"
    about = About(
        name=f"inversion.{name}",
        title=f"Trigger inversion, {name}",
        needs=INVERSION_NEEDS,
        finds=finds,
        misses=misses + "; source-specific triggers",
        source=source,
    )
    return UniversalInversion(FAMILIES[name], about)


FAST = UniversalInversion(
    sparse.FAST,
    About(
        name="inversion.fast",
        title="Short inversion that ranks the labels",
        needs=INVERSION_NEEDS,
        finds="the order in which labels deserve a closer look",
        misses="it ranks and never decides",
        source="P1, eq. 6",
    ),
    ranks=True,
)
DMS = UniversalInversion(
    FAMILIES["sparse"],
    About(
        name="inversion.dms",
        title="Trigger inversion inside the DMS mask",
        needs=INVERSION_NEEDS + "; the sensitivity stage",
        finds="patches, with less of the target's own features in the recovered trigger",
        misses="triggers outside the mask; it refines the ranked labels only",
        source="P4, eq. 1 with P1, eq. 3-5",
    ),
    masked=True,
)
ADAPTIVE = UniversalInversion(
    FAMILIES["sparse"],
    About(
        name="inversion.adaptive",
        title="Intensity-adaptive inversion",
        needs=INVERSION_NEEDS,
        finds="triggers that work over a range of intensities",
        misses="triggers with a threshold; it refines the ranked labels only",
        source="P0, 5.2 (Adap-NC)",
    ),
    drawn=(0.4, 1.0),
)
LIT = tuple(
    UniversalInversion(
        family,
        About(
            name=f"inversion.{family.name}",
            title=f"Trigger inversion, sparse on {family.name} images",
            needs=INVERSION_NEEDS + "; a model that still recognises most of them in that light",
            finds="patches that work only in another light (HCB)",
            misses="other innocuous features; it does not look where a universal trigger has been confirmed",
            source="Ma et al. 2024 (horizontal class backdoor) with P1, eq. 3-5",
        ),
    )
    for family in lit.FAMILIES
)

DETECTORS: tuple[Detector, ...] = (
    *(Module(m.about, m) for m in (graph, last_layer, steps, margin, unexplained)),
    FAST,
    *(_family(name) for name in FINDS),
    Module(waves.about, waves),
    Module(sensitivity.about, sensitivity),
    DMS,
    ADAPTIVE,
    *LIT,
    Module(pairs.about, pairs),
    Module(lean.about, lean),
)
# What was found so far is confirmed before these: a confirmed universal trigger leaves them less to look at.
CONFIRMED_BEFORE = frozenset({LIT[0].about.name, pairs.about.name})
ABOUTS: tuple[About, ...] = (*(d.about for d in DETECTORS), confirmation.about)

# How much a stage's scores count in the ranking of labels: what earned trust in docs/design.md counts more.
TRUST = {
    "last_layer": 1.0,
    "margin": 0.5,
    "steps": 0.25,
    "inversion.fast": 0.5,
    "inversion.sparse": 2.0,
    "inversion.dense": 2.0,
    "pairs": 1.0,
}


def chosen(names: tuple[str, ...]) -> tuple[Detector, ...]:
    """Detectors by name; `inversion` names all of its kind; none names all. ValueError names an unknown one."""
    known = [d.about.name for d in DETECTORS]
    for name in names:
        if name not in known and not any(k.startswith(name + ".") for k in known) and name != "confirmation":
            raise ValueError(f"unknown detector {name!r}; known: inversion, confirmation, {', '.join(known)}")
    return tuple(
        d for d in DETECTORS if not names or any(d.about.name == n or d.about.name.startswith(n + ".") for n in names)
    )
