"""Scores as tables: Markdown, CSV, LaTeX; and one line a picture."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from cmudrn.evaluation.evaluator import Scores
from cmudrn.evaluation.methods import INPUT
from cmudrn.evaluation.metrics import PROTOCOLS, Protocol
from cmudrn.evaluation.statistics import Estimate, bootstrap, paired_difference
from cmudrn.files import printable

Cells = list[str]

NO_SCORE = "-"
"""Stands where no picture of a set has a score."""


COSTS = ["parameters", "MAC a pixel", "ms a megapixel"]
"""Headings of what a model costs."""


def summary(
    scores: Iterable[Scores],
    intervals: bool = True,
    protocols: Sequence[str] = tuple(PROTOCOLS),
    costs: bool = False,
) -> list[Cells]:
    """Return a heading and one row for each set and method.

    Args:
        scores: of every picture.
        intervals: give each mean its interval.
        protocols: names of those that are shown.
        costs: show parameters, multiply-adds, and the median time of a megapixel, too.
    """
    shown = {name: PROTOCOLS[name] for name in protocols}
    heading = ["set", "pictures", "model", *(_title(protocol) for protocol in shown.values())]
    rows = [heading + (COSTS if costs else [])]
    for (dataset, method), group in _grouped(scores).items():
        cells = [
            _mean(bootstrap([s.values[name] for s in group]), protocol, intervals)
            for name, protocol in shown.items()
        ]
        cells += _costs(group) if costs else []
        rows.append([dataset, str(len(group)), method, *cells])
    return rows


def differences(
    scores: Iterable[Scores], intervals: bool = True, protocols: Sequence[str] = tuple(PROTOCOLS)
) -> list[Cells]:
    """Return a heading and rows of each model minus the first, paired by picture.

    Arguments are those of `summary`.
    """
    groups = _grouped(scores)
    shown = {name: PROTOCOLS[name] for name in protocols}
    heading = ["set", "pictures", "difference", *(_title(p) for p in shown.values())]
    rows = [heading]
    for dataset in dict.fromkeys(dataset for dataset, _ in groups):
        models = [method for where, method in groups if where == dataset and method != INPUT]
        for model in models[1:]:
            first, second = groups[dataset, models[0]], groups[dataset, model]
            cells = [
                _difference(
                    [[s.values[name] for s in g] for g in (first, second)], protocol, intervals
                )
                for name, protocol in shown.items()
            ]
            rows.append([dataset, str(len(first)), f"{model} - {models[0]}", *cells])
    return rows


def per_picture(scores: Iterable[Scores]) -> list[Cells]:
    """Return a heading and one row for each set, method and picture, at full precision."""
    rows = [["set", "model", "picture", *PROTOCOLS, "seconds"]]
    for s in scores:
        values = [f"{s.values[name]:.6f}" for name in PROTOCOLS]
        rows.append([s.dataset, s.method, s.picture, *values, f"{s.seconds:.4f}"])
    return rows


def to_markdown(rows: Sequence[Cells]) -> str:
    """Return rows as a Markdown table."""
    lines = [f"| {' | '.join(printable(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def to_csv(rows: Sequence[Cells]) -> str:
    """Return rows as comma-separated values.

    A name that a spreadsheet would take for a formula gets an apostrophe in front, and what does
    not print in it is replaced. Numbers, with their signs and intervals, stay as they are.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_no_formula(printable(cell)) for cell in row] for row in rows)
    return text.getvalue()


def _no_formula(cell: str) -> str:
    is_number = re.fullmatch(r"[-+\d.,\[\]() einf]*", cell)
    first = unicodedata.normalize("NFKC", cell.lstrip()[:1])  # some sheets take wide signs, too
    return f"'{cell}" if first in ("=", "+", "-", "@") and not is_number else cell


def to_latex(rows: Sequence[Cells]) -> str:
    """Return rows as a LaTeX tabular (package booktabs)."""
    columns = "lrl" + "r" * (len(rows[0]) - 3)
    lines = [" & ".join(map(_escape_latex, row)) + r" \\" for row in rows]
    inside = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *inside, r"\end{tabular}"]) + "\n"


FORMATS: dict[str, Callable[[Sequence[Cells]], str]] = {
    "markdown": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}


def _grouped(scores: Iterable[Scores]) -> dict[tuple[str, str], list[Scores]]:
    groups: dict[tuple[str, str], list[Scores]] = {}
    for s in scores:
        groups.setdefault((s.dataset, s.method), []).append(s)
    return groups


def _costs(group: Sequence[Scores]) -> Cells:
    cost = group[0].cost
    pace = median(1e9 * s.seconds / s.pixels for s in group)
    known = "" if cost.parameters is None else f"{cost.parameters:,}"
    macs = "" if cost.macs is None else f"{cost.macs:,}"
    return [known, macs, f"{pace:,.0f}" if pace else ""]


def _title(protocol: Protocol) -> str:
    return f"{protocol.title} {protocol.unit}".strip()


def _mean(estimate: Estimate, protocol: Protocol, interval: bool) -> str:
    if math.isnan(estimate.mean):
        return NO_SCORE
    mean, low, high = (
        f"{value:.{protocol.decimals}f}" for value in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{mean} ({low} to {high})" if interval else mean


def _difference(values: list[list[float]], protocol: Protocol, interval: bool) -> str:
    estimate = paired_difference(*values)
    if math.isnan(estimate.mean):
        return NO_SCORE
    mean, low, high = (
        f"{value:+.{protocol.decimals}f}" for value in (estimate.mean, estimate.low, estimate.high)
    )
    return f"{mean} ({low} to {high})" if interval else mean


_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
)


def _escape_latex(cell: str) -> str:
    return cell.translate(_LATEX)
