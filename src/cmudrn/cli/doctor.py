"""`cmudrn doctor`: what is wrong with datasets, and what leaks from one into another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.terminal import show, show_count, show_json

if TYPE_CHECKING:
    from cmudrn.datasets.doctor import Health, Leak, Report

SHOWN = 5
"""Shared pictures that are printed for each pair of datasets; JSON has them all."""


@app.command()
def doctor(
    datasets: Annotated[
        list[str],
        typer.Argument(metavar="DATASET", help="KIND:PATH[@PART], such as csd:../CSD@train."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Examine datasets: files, pairs, sizes, repeated scenes, and leaks between any two.

    The exit code is 1 where a file is wrong or a picture stands in two datasets.
    """
    from cmudrn.datasets.doctor import examine

    report = examine(datasets, _tell if sys.stderr.isatty() else None)
    if as_json:
        show_json(report.as_table(), indent=2)
    else:
        parts = _paragraphs(report)
        show(*(line for part in parts[:-1] for line in (*part, "")), *parts[-1])
    if not report.sound:
        raise typer.Exit(1)


def _paragraphs(report: Report) -> list[list[str]]:
    """Return the lines of each part; a name with a line break in it stays one line."""
    verdict = "Sound: no wrong file, no leak." if report.sound else "Not sound."
    return [*map(_describe, report.datasets), *map(_describe_leak, report.leaks), [verdict]]


def _describe(health: Health) -> list[str]:
    what = "clean pictures" if health.clean_only else "pairs"
    sizes = [f"{size} ({count})" for size, count in list(health.sizes.items())[:3]]
    more = f" and {len(health.sizes) - 3} other sizes" if len(health.sizes) > 3 else ""
    formats = ", ".join(f"{n} {suffix}" for suffix, n in health.formats.items())
    lines = [
        f"{health.dataset}: {health.pairs} {what}",
        f"  sizes        {', '.join(sizes) or 'none'}{more}",
        f"  formats      {formats or 'none'}",
        f"  fingerprint  {health.fingerprint}",
        f"  licence      {health.licence}",
    ]
    if health.rendered is not None:
        lines.append(f"  rendered     {health.rendered}")
    if health.input_psnr_db is not None:
        lines.insert(3, f"  input PSNR   {health.input_psnr_db:.2f} dB")
    if health.repeated:
        example = health.repeated[0]
        lines.append(
            f"  repeated     {len(health.repeated)} pairs of clean pictures show the same, e.g. "
            f"{example.first} and {example.second}"
        )
    return [*lines, *(f"  WRONG        {problem}" for problem in health.problems)]


def _describe_leak(leak: Leak) -> list[str]:
    lines = [f"LEAK between {leak.first} and {leak.second}: {len(leak.pictures)} pairs of pictures"]
    for same in leak.pictures[:SHOWN]:
        lines.append(f"  {same.first} is {same.second} ({same.how})")
    if len(leak.pictures) > SHOWN:
        lines.append(f"  and {len(leak.pictures) - SHOWN} more (--json lists them)")
    return lines


def _tell(done: int, count: int) -> None:
    show_count(f"read {done} of {count}", last=done == count)
