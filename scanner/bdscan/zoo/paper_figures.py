"""P4's own figures (Isolate Trigger, tables II to VI), to stand beside ours. Not comparable one to one: other
networks, other training, a GPU, and definitions that the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping

Key = tuple[str, str]  # data set, attack as the zoo names it

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
REPAIR: Mapping[Key, tuple[float, float, float]] = {  # table III: ASR after, accuracy before and after, percent
    ("mnist", "badnets"): (0.10, 99.99, 99.23),
    ("mnist", "sig"): (2.17, 97.75, 98.98),
    ("mnist", "multi"): (0.04, 98.72, 99.45),
    ("gtsrb", "badnets"): (0.13, 96.03, 96.60),
    ("gtsrb", "sig"): (2.60, 94.74, 95.29),
}
