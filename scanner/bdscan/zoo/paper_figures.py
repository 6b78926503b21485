"""P4's own figures (Isolate Trigger, tables II to VI), to stand beside ours. Not comparable one to one: other
networks, other training, a GPU, and definitions that the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Key = tuple[str, str]  # data set, attack as the zoo names it
T = TypeVar("T")
ROWS: tuple[Key, ...] = (  # the columns of tables II, IV and V that are on MNIST and GTSRB
    ("mnist", "badnets"),
    ("mnist", "sig"),
    ("mnist", "multi"),
    ("gtsrb", "badnets"),
    ("gtsrb", "sig"),
)


def _by_row(*values: T) -> Mapping[Key, T]:
    return dict(zip(ROWS, values, strict=True))


FIR: Mapping[Key, float] = {  # table IV, row DMS-Steps
    ("mnist", "badnets"): 0.99,
    ("mnist", "sig"): 0.99,
    ("mnist", "multi"): 0.99,
    ("gtsrb", "badnets"): 0.94,
    ("gtsrb", "sig"): 0.82,
}
APD: Mapping[Key, float] = {  # table V, row DMS-Steps
    ("mnist", "badnets"): 0.0052,
    ("mnist", "sig"): 0.2290,
    ("mnist", "multi"): 0.0026,
    ("gtsrb", "badnets"): 0.0224,
    ("gtsrb", "sig"): 0.2897,
}
STEPS: Mapping[Key, tuple[float, float]] = {  # table II, row Steps: ACC, TPR
    ("mnist", "badnets"): (0.99, 0.99),
    ("mnist", "sig"): (0.90, 0.99),
    ("mnist", "multi"): (0.97, 0.93),
    ("gtsrb", "badnets"): (0.96, 0.83),
    ("gtsrb", "sig"): (0.95, 0.85),
}
DMS_STEPS: Mapping[Key, tuple[float, float]] = {  # table II, row DMS-Steps: ACC, TPR
    ("mnist", "badnets"): (0.99, 0.99),
    ("mnist", "sig"): (0.96, 0.99),
    ("mnist", "multi"): (0.99, 0.99),
    ("gtsrb", "badnets"): (0.98, 0.98),
    ("gtsrb", "sig"): (0.97, 0.83),
}
SECONDS: Mapping[str, tuple[float, float]] = {"mnist": (0.14, 2.51), "gtsrb": (0.27, 22.12)}  # table VI: Steps, DMS
DETECTION: Mapping[str, Mapping[Key, tuple[float, float]]] = {  # table II by method: ACC, TPR
    "GangSweep": _by_row((0.99, 0.99), (0.53, 0.78), (0.92, 0.78), (0.96, 0.80), (0.94, 0.81)),
    "NC": _by_row((0.99, 0.99), (0.85, 0.11), (0.90, 0.89), (0.95, 0.70), (0.95, 0.10)),
    "MESA": _by_row((0.73, 0.38), (0.88, 0.50), (0.92, 0.88), (0.86, 0.19), (0.78, 0.19)),
    "Steps": STEPS,
    "DMS-Steps": DMS_STEPS,
}
FIR_BY_METHOD: Mapping[str, Mapping[Key, float]] = {  # table IV
    "GangSweep": _by_row(0.99, 0.06, 0.99, 0.91, 0.81),
    "NC": _by_row(0.81, 0.30, 0.69, 0.71, 0.08),
    "MESA": _by_row(0.62, 0.17, 0.13, 0.88, 0.74),
    "DMS-Steps": FIR,
}
APD_BY_METHOD: Mapping[str, Mapping[Key, float]] = {  # table V
    "GangSweep": _by_row(0.0490, 0.2612, 0.1015, 0.0357, 0.3896),
    "NC": _by_row(0.0864, 0.4728, 0.0899, 0.0295, 0.4872),
    "MESA": _by_row(0.3035, 0.2574, 0.5167, 0.3062, 0.4846),
    "DMS-Steps": APD,
}
SECONDS_BY_METHOD: Mapping[str, Mapping[str, float]] = {  # table VI, a sample
    "GangSweep": {"mnist": 1.36, "gtsrb": 12.04},
    "NC": {"mnist": 2.32, "gtsrb": 74.84},
    "MESA": {"mnist": 15.91, "gtsrb": 430.24},
    "Steps": {data: both[0] for data, both in SECONDS.items()},
    "DMS-Steps": {data: both[1] for data, both in SECONDS.items()},
}
REPAIR: tuple[tuple[str, str, float | None, float | None, str, float | None], ...] = (
    # our network; table III: data and attack, ASR and accuracy before, after; percent. Then V.E, figure 9.
    ("mnist-badnets", "MNIST, BadNets", 100.0, 99.99, "0.10", 99.23),
    ("mnist-sig", "MNIST, SIN", 99.42, 97.75, "2.17", 98.98),
    ("mnist-multi", "MNIST, MT", 89.06, 98.72, "0.04", 99.45),
    ("gtsrb-badnets", "GTSRB, BadNets", 100.0, 96.03, "0.13", 96.60),
    ("gtsrb-sig", "GTSRB, SIN", 100.0, 94.74, "2.60", 95.29),
    ("mnist-cassock", "PubFig, CASSOCK", 100.0, 98.61, "0.22", 98.87),
    ("mnist-hcb", "PubFig, HCB", 100.0, 99.86, "1.78", 99.85),
    ("mnist-four", "MNIST, four (figure 9)", None, None, "below 0.1", None),
    ("yaleb-four", "faces, four (figure 9)", None, None, "below 3", None),
)
