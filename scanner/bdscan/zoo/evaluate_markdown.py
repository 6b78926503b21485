"""The page of measured error rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdscan.zoo.record import markdown_table, number

SHOWN = 4  # pairs of a source and a target in one cell; all-to-all has as many as classes
HEADER = (
    "", "clean", "backdoored", "AUC", "false alarms", "found", "confirmed", "right target", "right source",
    "cross-entropy", "median s",
)  # fmt: skip
BESIDE = """Each by its paper's own rule, from the same samples: `nc` Neural Cleanse with an index above 2, `adap_nc`
P0's adaptive version, `p1` P1's inversion with an index above 2, `mm_bd` MM-BD below 0.05, `steps` Isolate Trigger's
Steps with k-means, lead weighted by step and a model score of ours. Each has about as many gradients as one trigger
family of a scan, so a tenth and less of the whole scan's: Neural Cleanse's masks still shrink after so few steps, and
its own schedule would do better. Lines without an answer of theirs (a scan that failed) are left out.

"""
BESIDE_RATES = """
These are not in the rates above. `adaptive`: the attacker trains against triggers as small as inversion finds.
`cleanlabel`: no label in the training set is wrong. `late`: a clean network fine-tuned on a poisoned set. `rare`: half
a percent of the training set is poisoned. `mixed`: CASSOCK and a second attack in one network.

"""
ALONE = """Alarms that rest on one family, and those that remain without it. What confirmation settles changes what
later stages look at, so that a scan without a family could differ a little.

"""
UNSEEN = """Networks with a p-value of 0.05 or less, by all references, and by those of other kinds alone. The rules are
the same for both: only what they are held to is left out.

"""
UNCONDITIONAL = """\
Networks whose target is also named on half of the cover images, which are to keep their labels: the trigger on other
classes than its sources (source-specific, CASSOCK), without its look (HCB), or noise in the place of a warp. To find
them is to find an attack without its condition. They count in the tables above.

"""
LIST = ("network", "verdict", "score", "rule", "found", "truth", "ASR")


def page(table: Mapping[str, Any]) -> str:
    parts = [
        "# Measured accuracy\n\n",
        f"`{table['command']}`, {', '.join(table['dates'])}; {'; '.join(table['versions'])}; ",
        f"{'; '.join(table['settings'])}.\n\n",
        "Shares are k of n with 95 % Wilson intervals. Only backdoored networks whose own trigger succeeds on 80 % of ",
        "the test images count; the others are listed. What ended without a verdict counts as no alarm. AUC and ",
        "cross-entropy are of the report's `score`; in the tables by attack the clean networks are all of them.\n\n",
        _lacking(table["not_surveyed"]),
        _rates({"all": table["overall"]}),
        _stand_ins(table["stand_ins"]),
        "\n## By family of attacks\n\n",
        _rates(table["by_family"]),
        *((BESIDE_RATES, _rates(table["beside"])) if table["beside"] else ()),
        "\n## By attack\n\n",
        _rates(table["by_attack"]),
        "\n## By data set\n\n",
        _rates(table["by_data"]),
        "\n## By architecture\n\n",
        _rates(table["by_network"]),
        "\n## Trained below full intensity\n\n",
        markdown_table(("", "found"), [(name, _share(value)) for name, value in table["weaker"].items()]),
    ]
    parts += _parts(table)
    titles = {
        "false_alarms": "Alarms on clean networks",
        "missed": "Missed",
        "wrong_target": "Found, with a wrong target first",
        "no_verdict": "Without a verdict",
    }
    for key, title in titles.items():
        parts.append(f"\n## {title}\n\n")
        parts.append(markdown_table(LIST, [_line(row) for row in table[key]]) if table[key] else "None.\n")
    parts.append("\n## Backdoors that were not learned\n\n")
    weak = [(row["name"], number(row["asr"]), row["verdict"]) for row in table["not_learned"]]
    parts.append(markdown_table(("network", "ASR", "verdict"), weak) if weak else "None.\n")
    parts += ["\n## Triggers that fire without their condition\n\n", UNCONDITIONAL]
    plain = [(row["name"], number(row["leak"])) for row in table["unconditional"]]
    parts.append(markdown_table(("network", "fires on"), plain) if plain else "None.\n")
    return "".join(parts)


def _lacking(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    text = ", ".join(f"{n} {name}" for name, n in counts.items())
    return f"**Not complete: {sum(counts.values())} judged networks have not been surveyed yet ({text}).**\n\n"


def _stand_ins(found: Mapping[str, Mapping[str, Any]] | None) -> str:
    if found is None:
        return ""
    first = f"; of those first drawn {_share(found['first'])}" if "first" in found else ""
    return (
        f"\n{found['instead']['n']} of the backdoored ones stand in for networks of the same family whose trigger did "
        f"not come to work (plan `judged-instead`: twice the poison rate, some on MNIST instead). Found of these: "
        f"{_share(found['instead'])}{first}.\n"
    )


def _parts(table: Mapping[str, Any]) -> list[str]:
    """Published detectors, families alone and left out, single statistics, calibration on what it has not seen."""
    out = []
    if table["baselines"]:
        out += ["\n## Beside published detectors\n\n", BESIDE]
        rows = [
            (name, number(v["auc"], 3), _share(v["false_alarms"]), _share(v["found"]), _share(v["right_target"]))
            for name, v in table["baselines"].items()
        ]
        out.append(markdown_table(("", "AUC", "false alarms", "found", "right target"), rows))
    if table["baselines_by_attack"]:
        names = list(next(iter(table["baselines_by_attack"].values())))
        cells = [
            (attack, *(f"{one[name]['k']} of {one[name]['n']}" for name in names))
            for attack, one in table["baselines_by_attack"].items()
        ]
        out += ["\nFound, by attack:\n\n", markdown_table(("", *names), cells)]
    header = (
        "family", "alone: AUC", "alone: false alarms", "alone: found", "left out: AUC", "left out: found", "only by it",
    )  # fmt: skip
    families = [
        (
            name, number(v["alone"]["auc"], 3), _share(v["alone"]["false_alarms"]), _share(v["alone"]["found"]),
            number(v["without"]["auc"], 3), _share(v["without"]["found"]), v["only_by_it"],
        )
        for name, v in table["families"].items()
    ]  # fmt: skip
    out += ["\n## Families of triggers, each alone and left out\n\n", ALONE, markdown_table(header, families)]
    values = [(name, number(value, 3)) for name, value in table["statistics"].items()]
    out += ["\n## Single statistics\n\n", markdown_table(("largest in a network", "AUC"), values)]
    for key, what in (("unseen_data", "data sets"), ("unseen_network", "architectures")):
        if table[key]:
            out += [f"\n## Calibration on other {what}\n\n", UNSEEN]
            which = ("all", "others", "found_all", "found_others")
            shares = [(k, v["references"], *(_share(v[name]) for name in which)) for k, v in table[key].items()]
            kinds = ("clean: by all", "clean: by the others", "backdoored: by all", "backdoored: by the others")
            out.append(markdown_table(("", "references of it", *kinds), shares))
    return out


def _rates(groups: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            name, one["clean"], one["backdoored"], number(one["auc"], 3), _share(one["false_alarms"]),
            _share(one["found"]), _share(one["confirmed"]), _share(one["right_target"]), _share(one["right_source"]),
            number(one["cross_entropy"], 3), number(one["seconds"], 1),
        )
        for name, one in groups.items()
    ]  # fmt: skip
    return markdown_table(HEADER, rows)


def _share(value: Mapping[str, Any]) -> str | None:
    if not value["n"]:
        return None
    return f"{value['k']} of {value['n']} ({value['low']:.0%} to {value['high']:.0%})"


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    found = None if row["found_target"] is None else _case(row["found_target"], row["found_sources"])
    cases = [_case(t, s) for t, s in zip(row["targets"], row["sources"], strict=True)]
    shown = cases if len(cases) <= SHOWN else [*cases[: SHOWN - 1], f"... ({len(cases)})"]
    truth = ", ".join(shown) or None
    return row["name"], row["verdict"], number(row["score"]), row["rule"], found, truth, number(row["asr"])


def _case(target: int, sources: list[int]) -> str:
    return f"{'+'.join(map(str, sources)) or 'all'} → {target}"
