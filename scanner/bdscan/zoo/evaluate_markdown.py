"""The page of measured error rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bdscan.zoo.record import markdown_table, number

HEADER = (
    "", "clean", "backdoored", "AUC", "false alarms", "found", "confirmed", "right target", "cross-entropy", "median s",
)  # fmt: skip
LIST = ("network", "verdict", "score", "rule", "found", "truth", "ASR")


def page(table: Mapping[str, Any]) -> str:
    parts = [
        "# Measured accuracy\n\n",
        f"`{table['command']}`, {', '.join(table['dates'])}; {'; '.join(table['versions'])}; ",
        f"{'; '.join(table['settings'])}, ten clean images a class.\n\n",
        "Shares are k of n with 95 % Wilson intervals. Only backdoored networks whose own trigger succeeds on 80 % of ",
        "the test images count; the others are listed. What ended without a verdict counts as no alarm. AUC and ",
        "cross-entropy are of the report's `score`; in the tables by attack the clean networks are all of them.\n\n",
        _rates({"all": table["overall"]}),
        "\n## By family of attacks\n\n",
        _rates(table["by_family"]),
        "\n## By attack\n\n",
        _rates(table["by_attack"]),
        "\n## By data set\n\n",
        _rates(table["by_data"]),
        "\n## By architecture\n\n",
        _rates(table["by_network"]),
        "\n## Trained below full intensity\n\n",
        markdown_table(("", "found"), [(name, _share(value)) for name, value in table["weaker"].items()]),
    ]
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
    weak = [(row["name"], number(row["asr"])) for row in table["not_learned"]]
    parts.append(markdown_table(("network", "ASR"), weak) if weak else "None.\n")
    return "".join(parts)


def _rates(groups: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (
            name, one["clean"], one["backdoored"], number(one["auc"], 3), _share(one["false_alarms"]),
            _share(one["found"]), _share(one["confirmed"]), _share(one["right_target"]),
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
    truth = ", ".join(_case(t, s) for t, s in zip(row["targets"], row["sources"], strict=True)) or None
    return row["name"], row["verdict"], number(row["score"]), row["rule"], found, truth, number(row["asr"])


def _case(target: int, sources: list[int]) -> str:
    return f"{'+'.join(map(str, sources)) or 'all'} → {target}"
