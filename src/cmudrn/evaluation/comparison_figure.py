"""A figure that lays degraded, clean and restored pictures side by side, with their scores."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmudrn.evaluation.metrics import psnr_rgb, ssim_rgb
from cmudrn.image import Image
from cmudrn.restoration import Restorer, RestoreSettings, restore_image

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


def make_row(
    degraded: Image,
    restorers: Mapping[str, Restorer],
    clean: Image | None = None,
    crop: tuple[slice, slice] | None = None,
) -> list[Cell]:
    """Return a picture's cells: degraded, clean, and for each model restored and removed.

    "Removed" is the degraded picture minus the restored one, on mid grey: brighter where light
    was taken away. A single model's branches follow. Scores are of the whole picture, RGB, also
    where only a crop is shown; without a clean picture there are none.

    Args:
        degraded: (H, W, 3) float32 RGB in [0, 1].
        restorers: models by name.
        clean: of the same shape, or None.
        crop: window that is shown; None is the whole picture.
    """

    def scored(name: str, image: Image) -> Cell:
        return Cell(name if clean is None else _scored(name, image, clean), image)

    cells = [scored("degraded", degraded)]
    cells += [] if clean is None else [Cell("clean", clean)]
    for name, restorer in restorers.items():
        done = restore_image(restorer, degraded, RestoreSettings(layers=True))
        of_model = "" if len(restorers) == 1 else f"{name}: "
        cells.append(scored(f"{of_model}restored", done.pixels))
        removed = np.clip(0.5 + (degraded - done.pixels), 0, 1)
        cells.append(Cell(f"{of_model}removed", removed))
        if len(restorers) == 1:
            cells += [
                scored(f"{task} branch", np.clip(estimate, 0, 1))
                for task, estimate in done.branches.items()
            ]
    if crop is None:
        return cells
    return [Cell(cell.title, cell.image[crop]) for cell in cells]


def draw_sheet(rows: Sequence[tuple[str, Sequence[Cell]]], kind: str = "png") -> bytes:
    """Return a figure file with one named row of pictures for each pair.

    Args:
        rows: (name, cells); a short row ends in empty places.
        kind: "png", "pdf" or "svg".
    """
    from matplotlib.figure import Figure

    columns = max(len(cells) for _, cells in rows)
    heights = [WIDTH_INCHES * _ratio(cells) + 0.45 for _, cells in rows]
    figure = Figure((WIDTH_INCHES * columns, sum(heights)), dpi=DOTS_PER_INCH, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes, (name, cells) in zip(grid, rows, strict=True):
        for place in axes[len(cells) :]:
            place.axis("off")
        for place, cell in zip(axes, cells, strict=False):
            _draw(place, cell)
        axes[0].set_ylabel(name, fontsize=8, parse_math=False)  # names may hold dollar signs
    stream = io.BytesIO()
    # Neither date nor version: the same pictures make the same bytes.
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(stream, format=kind, metadata=metadata[kind])
    return stream.getvalue()


def _draw(axes: Any, cell: Cell) -> None:
    axes.imshow(np.rint(np.clip(cell.image, 0, 1) * 255).astype(np.uint8))
    axes.set_title(cell.title, fontsize=7, parse_math=False)
    axes.set_xticks([])
    axes.set_yticks([])


def _ratio(cells: Sequence[Cell]) -> float:
    height, width = cells[0].image.shape[:2]
    return float(height / width)


def _scored(name: str, image: Image, clean: Image) -> str:
    return f"{name}\n{psnr_rgb(image, clean):.2f} dB, SSIM {ssim_rgb(image, clean):.3f}"
