"""The paper's figure 4: how long pictures of every size take at every depth, as CSV and PNG."""

from __future__ import annotations

import csv
import dataclasses
import io
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmudrn.engines import Engine
from cmudrn.engines.native import NativeUnavailableError, peak_gflops
from cmudrn.errors import CmudrnError, MissingExtraError
from cmudrn.evaluation.costs import model_cost
from cmudrn.files import atomic_file, printable
from cmudrn.models import check_depth
from cmudrn.models.info import ModelInfo
from cmudrn.restoration.profile import time_call

OnCell = Callable[["Cell"], None]
"""Called with each cell when it was measured."""


@dataclass(frozen=True)
class Cell:
    """Square pictures of one size at one depth.

    Attributes:
        side: of the pictures, pixels.
        loops: T = S.
        median_s: seconds a picture, after one to warm up; least_s and most_s likewise.
        pictures: how many were timed.
        gflops: GFLOP/s at the median, two for each multiply-add of a plain convolution; Winograd
            needs a third of them, so that this may exceed the peak.
        peak_gflops: what multiply-adds in registers alone reached just before; 0 where unknown.
    """

    side: int
    loops: int
    median_s: float
    least_s: float
    most_s: float
    pictures: int
    gflops: float
    peak_gflops: float


FIELDS = {
    field.name: {"int": int, "float": float}[str(field.type)] for field in dataclasses.fields(Cell)
}


def measure_heatmap(
    engine: Engine,
    path: Path,
    title: str,
    sides: Sequence[int],
    loops: Sequence[int],
    pictures: int,
    on_cell: OnCell | None = None,
) -> None:
    """Write the heat map to a CSV file and draw it beside; goes on where a stopped run was.

    Args:
        engine: what is timed.
        path: the CSV file; what it already holds under the same title is kept.
        title: its first line: machine, engine and model.
        sides: of the square pictures, pixels.
        loops: values of T = S; of a model of one depth its T alone.
        pictures: to time for each cell.
        on_cell: told of progress.

    Raises:
        CmudrnError: the model does not take these depths; the file cannot be written, or holds
            times of something else.
    """
    for depth in loops:
        check_depth(engine.info, *_depth(engine.info, depth))
    cells = read_cells(path, title) if path.exists() else []
    done = {(cell.side, cell.loops) for cell in cells}
    write_cells(path, title, cells)
    for side, depth in [(side, depth) for side in sides for depth in loops]:
        if (side, depth) not in done:
            cells.append(measure_cell(engine, side, depth, pictures))
            write_cells(path, title, cells)
            if on_cell:
                on_cell(cells[-1])
    draw_cells(path.with_suffix(".png"), title, cells)


def measure_cell(engine: Engine, side: int, loops: int, pictures: int) -> Cell:
    """Return the times of some pictures of normal noise, side x side, at T = S = loops."""
    try:
        peak = peak_gflops(precision=engine.precision)
    except NativeUnavailableError:
        peak = 0.0
    depth = _depth(engine.info, loops)
    seconds = time_call(engine, side, side, *depth, pictures)
    middle = statistics.median(seconds)
    work = 2e-9 * side * side * (model_cost(engine.info, *depth).macs or 0)
    return Cell(side, loops, middle, min(seconds), max(seconds), pictures, work / middle, peak)


def _depth(info: ModelInfo, loops: int) -> tuple[int, int]:
    """Return T and S of a cell: a model of one depth has its own S."""
    return (loops, loops if info.adjustable else info.recursions)


def read_cells(path: Path, title: str) -> list[Cell]:
    """Return the cells of a CSV file.

    Raises:
        CmudrnError: it cannot be read, or has another title.
    """
    try:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
        if first != f"# {title}":
            raise CmudrnError(f"{path} holds times of another machine, engine or model.")
        rows = csv.DictReader(io.StringIO(rest))
        return [Cell(**{name: FIELDS[name](row[name]) for name in FIELDS}) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CmudrnError(f"{path} is no heat map that this command wrote.") from error


def write_cells(path: Path, title: str, cells: Sequence[Cell]) -> None:
    """Write the cells as a CSV file, under a line of comment with the title.

    Raises:
        CmudrnError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for cell in cells:
        writer.writerow(f"{value:.5g}" for value in dataclasses.astuple(cell))
    with atomic_file(path) as file:
        file.write(f"# {printable(title)}\n{text.getvalue()}".encode())


def draw_cells(path: Path, title: str, cells: Sequence[Cell]) -> None:
    """Draw seconds a picture and, where it is known, work beside the peak, as a PNG file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("A heat map", "evaluate") from error
    sides = sorted({cell.side for cell in cells})
    loops = sorted({cell.loops for cell in cells})
    panels = {"seconds a picture, median": [cell.median_s for cell in cells]}
    if all(cell.peak_gflops for cell in cells):
        panels["work of plain convolutions / measured peak"] = [
            cell.gflops / cell.peak_gflops for cell in cells
        ]
    height = 3.6 if len(loops) > 1 else 1.6
    figure = Figure(figsize=(10, height * len(panels)), layout="constrained")
    figure.suptitle(title, fontsize=8)
    for axes, (label, values) in zip(
        np.ravel(figure.subplots(len(panels))), panels.items(), strict=True
    ):
        grid = np.full((len(loops), len(sides)), np.nan)
        for cell, value in zip(cells, values, strict=True):
            grid[loops.index(cell.loops), sides.index(cell.side)] = value
        image = axes.imshow(grid, origin="lower", aspect="auto", norm="log", cmap="viridis")
        axes.set_xticks(range(len(sides)), [str(side) for side in sides], fontsize=8)
        axes.set_yticks(range(len(loops)), [str(depth) for depth in loops])
        axes.set(xlabel="side of the square picture, pixels", ylabel="loops, T = S")
        for (row, column), value in np.ndenumerate(grid):
            axes.text(column, row, f"{value:.2g}", ha="center", va="center", fontsize=6, color="w")
        figure.colorbar(image, ax=axes, label=label)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)
