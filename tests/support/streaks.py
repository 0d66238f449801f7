"""A small tree in the layout of the streak database of Garg and Nayar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

ELEVATIONS = (0, 20, 60)
HEIGHTS = {4: 130, 16: 525}


def make_database(root: Path) -> Path:
    """Write streaks of two sizes, from three cameras, lit from everywhere and from three places.

    Each is even along its length, bright in the middle of its width, and scaled to 65535; the
    tables make sample k (k + 1) times as bright as the first.
    """
    environment, point = root / "env_light_database", root / "point_light_database"
    row = " ".join(f"{0.05 * (k + 1):.3f}" for k in range(10))
    (environment / "txt").mkdir(parents=True)
    (point / "txt").mkdir(parents=True)
    table = "".join(f"cv{e}\n{row} \n" for e in ELEVATIONS)
    (environment / "txt" / "normalized_env_max.txt").write_text(table)
    for elevation in ELEVATIONS:
        text = f"cv{elevation}\nv-90\nh90 {row} \nv10\nh10 {row} \nh90 {row} \n"
        (point / "txt" / f"dcam{elevation:02d}_point_max.txt").write_text(text)
    for size, height in HEIGHTS.items():
        for elevation in ELEVATIONS:
            rows = round(height * np.cos(np.radians(elevation)))
            for sample in range(10):
                name = f"cv{elevation}_osc{sample}.png"
                _save(environment / f"size{size}" / name, rows, size)
                for light in ("v-90_h90", "v10_h10", "v10_h90"):
                    name = f"cv{elevation}_{light}_osc{sample}.png"
                    _save(point / f"size{size}" / f"dcam{elevation:02d}" / name, rows, size)
    return root


def _save(path: Path, rows: int, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    across = np.sin(np.pi * (np.arange(size) + 0.5) / size)
    across = np.tile(np.rint(65535 * across / across.max()).astype(np.uint16), (rows, 1))
    Pillow.fromarray(across).save(path)
