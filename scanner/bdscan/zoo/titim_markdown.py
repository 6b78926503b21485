"""Heat maps of success by intensity, and the page around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bdscan.zoo.record import markdown_table, number

SIDE, LEFT, TOP = 44, 84, 46
SHORT = {
    "not converged": "N",
    "matched": "M",
    "generalisation": "G",
    "overfitting": "O",
    "robust": "R",
    "lost": "L",
}
INDEX = ("sparse.index", "dense.index", "warp.index", "tone.index", "sparse.classic_index", "adaptive.classic_index")

PUBLISHED = {"nc": "NC index", "adap_nc": "Adap-NC index"}  # P0, tables 7 and 8


def heat_map(name: str, one: Mapping[str, Any], training: Sequence[float], inference: Sequence[float]) -> str:
    """An SVG: rows are training intensities, columns inference intensities, text is the success rate in percent."""
    width, height = LEFT + SIDE * len(inference) + 8, TOP + SIDE * len(training) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" ',
        f'aria-label="{name}: success rate by training and inference intensity" font-family="sans-serif" ',
        'font-size="12">\n<style>text{fill:#222}@media(prefers-color-scheme:dark){text.axis{fill:#ddd}}</style>\n',
        f'<text class="axis" x="{LEFT}" y="16">{name}: inference intensity</text>\n',
        f'<text class="axis" x="4" y="{TOP - 6}">training</text>\n',
    ]
    for j, intensity in enumerate(inference):
        x = LEFT + j * SIDE + SIDE / 2
        parts.append(f'<text class="axis" x="{x}" y="{TOP - 6}" text-anchor="middle">{intensity:g}</text>\n')
    for i, (row, line) in enumerate(zip(one["grid"], one["regions"], strict=True)):
        y = TOP + i * SIDE
        parts.append(f'<text class="axis" x="{LEFT - 12}" y="{y + 27}" text-anchor="end">{training[i]:g}</text>\n')
        for j, (asr, region) in enumerate(zip(row["asr"], line, strict=True)):
            x, light = LEFT + j * SIDE, 96 - 46 * asr
            parts.append(
                f'<g><title>{region}</title><rect x="{x}" y="{y}" width="{SIDE - 2}" height="{SIDE - 2}" rx="3" '
                f'fill="hsl(14 80% {light:.0f}%)"/><text x="{x + SIDE / 2 - 1}" y="{y + 20}" text-anchor="middle">'
                f'{100 * asr:.0f}</text><text x="{x + SIDE / 2 - 1}" y="{y + 35}" text-anchor="middle" '
                f'font-size="10">{SHORT[region]}</text></g>\n'
            )
    return "".join([*parts, "</svg>\n"])


def page(
    table: Mapping[str, Any], training: Sequence[float], inference: Sequence[float], lacking: Sequence[str] = ()
) -> str:
    """The page of the attacks that the table has; those that are `lacking` are named."""
    parts = [
        "# Training and inference intensity of triggers\n\n",
        f"`{table['command']}`, {table['date']}, bdscan {table['version']}, torch {table['torch']}; ",
        f"{table['data']}, {table['network']}, {table['limit']} training images, one network a training intensity.\n\n",
        "Success rates in percent on the test images of other classes. Regions after P0 (figure 4), by these rates ",
        "alone: **M** matched, **G** generalisation (a stronger trigger than the trained one works), **O** ",
        "overfitting (a weaker one works less than on a network trained with it), **N** not converged. Two that P0's ",
        "picture does not have: **R** robust (a weaker trigger works as well as on a network trained with it), **L** ",
        "lost (a stronger trigger than the trained one fails).\n",
    ]
    if lacking:
        parts.append(f"\n**Not complete: {', '.join(lacking)} have not been made yet.**\n")
    for name, one in table["attacks"].items():
        parts += [f"\n## {name}\n\n![success by intensity]({name}.svg)\n\n", _networks(one, inference)]
        for key, title in (("strip", "STRIP"), ("scale_up", "Scale-Up")):
            parts.append(f"\n{title}, AUC of triggered against clean images by inference intensity:\n\n")
            parts.append(
                markdown_table(
                    ("training", *(f"{v:g}" for v in inference)),
                    [(_training(row), *(number(v, 2) for v in row[key])) for row in one["grid"]],
                )
            )
    parts += ["\n## Where ours differ from P0\n\n", _differs(table, training, inference)]
    return "".join(parts)


def _networks(one: Mapping[str, Any], inference: Sequence[float]) -> str:
    """What a scan says of each network, and mixed intensities (P0, tables 4, 7 and 8)."""
    rows = []
    for row in [*one["grid"], *one["mixed"]]:
        scan = row["scan"]
        best: dict[str, float] = {}
        for name, _, _, value in scan["statistics"] or []:
            if value is not None:
                best[name] = max(best.get(name, value), value)
        worst = min(v for v, i in zip(row["asr"], inference, strict=True) if i >= 0.2)
        published = scan.get("baselines") or {}
        cells = [number(best.get(name), 1) for name in INDEX]
        cells += [number(published[name]["score"], 1) if name in published else None for name in PUBLISHED]
        target = scan["found_target"]
        rows.append(
            (
                _training(row),
                number(row["accuracy"], 3),
                number(worst, 3),
                scan["verdict"],
                scan["rule"],
                target,
                *cells,
            )
        )
    header = ("training", "accuracy", "worst ASR from 0.2 on", "scan", "rule", "target", *INDEX, *PUBLISHED.values())
    return markdown_table(header, rows)


def _training(row: Mapping[str, Any]) -> str:
    return " and ".join(f"{v:g}" for v in row["training"])


def _differs(table: Mapping[str, Any], training: Sequence[float], inference: Sequence[float]) -> str:
    """Cells that P0's picture does not have."""
    lines = []
    for name, one in table["attacks"].items():
        for region in ("lost", "robust"):
            cells = [
                f"{t:g}/{i:g}"
                for t, line in zip(training, one["regions"], strict=True)
                for i, what in zip(inference, line, strict=True)
                if what == region
            ]
            if cells:
                lines.append(f"- {name}: {region} at training/inference {', '.join(cells)}\n")
    return "".join(lines) or "Nowhere.\n"
