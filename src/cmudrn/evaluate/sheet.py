"""A figure that lays degraded, restored and clean pictures side by side, with their scores."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmudrn.datasets import Pair
from cmudrn.evaluate.metrics import psnr_rgb, ssim_rgb
from cmudrn.image import Image
from cmudrn.restore import Restorer

WIDTH_INCHES = 2.6
"""Of one picture on the sheet."""

DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        title: above it.
        image: (H, W, 3) float32 RGB in [0, 1].
    """

    title: str
    image: Image


def make_row(pair: Pair, restorer: Restorer, crop: tuple[slice, slice] | None = None) -> list[Cell]:
    """Return a pair's pictures: degraded, restored, clean, removed, and each branch's estimate.

    "Removed" is the degraded picture minus the restored one, on mid grey: brighter where light
    was taken away. Scores are of the whole picture, RGB, also where only a crop is shown.

    Args:
        pair: a degraded and a clean picture.
        restorer: runs the model.
        crop: window that is shown; None is the whole picture.
    """
    layers = restorer.layers(pair.degraded)
    removed = np.clip(0.5 + (pair.degraded - layers.restored), 0, 1)
    cells = [
        Cell(_scored("degraded", pair.degraded, pair.clean), pair.degraded),
        Cell(_scored("restored", layers.restored, pair.clean), layers.restored),
        Cell("clean", pair.clean),
        Cell("removed", removed),
    ]
    for task, estimate in layers.branches.items():
        branch = np.clip(estimate, 0, 1)
        cells.append(Cell(_scored(f"{task} branch", branch, pair.clean), branch))
    if crop is None:
        return cells
    return [Cell(cell.title, cell.image[crop]) for cell in cells]


def draw_sheet(rows: Sequence[tuple[str, Sequence[Cell]]], kind: str = "png") -> bytes:
    """Return a figure file with one named row of pictures for each pair.

    Args:
        rows: (name, cells); every row has as many cells.
        kind: "png", "pdf" or "svg".
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 (heavy)

    columns = len(rows[0][1])
    heights = [WIDTH_INCHES * _ratio(cells) + 0.45 for _, cells in rows]
    figure = Figure((WIDTH_INCHES * columns, sum(heights)), dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes, (name, cells) in zip(grid, rows, strict=True):
        for place, cell in zip(axes, cells, strict=True):
            _draw(place, cell)
        axes[0].set_ylabel(name, fontsize=8)
    stream = io.BytesIO()
    # Neither date nor version: the same pictures make the same bytes.
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(stream, format=kind, metadata=metadata[kind])
    return stream.getvalue()


def _draw(axes: Any, cell: Cell) -> None:
    axes.imshow(np.rint(np.clip(cell.image, 0, 1) * 255).astype(np.uint8))
    axes.set_title(cell.title, fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])


def _ratio(cells: Sequence[Cell]) -> float:
    height, width = cells[0].image.shape[:2]
    return float(height / width)


def _scored(name: str, image: Image, clean: Image) -> str:
    return f"{name}\n{psnr_rgb(image, clean):.2f} dB, SSIM {ssim_rgb(image, clean):.3f}"
