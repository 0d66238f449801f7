"""Rain as simple programs draw it: hard lines of one colour, one length and one direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmudrn.weather.editor import EditorScene
from cmudrn.weather.weather import (
    NORMAL,
    Range,
    Weather,
    draw,
    draw_light,
    draw_log,
)


@dataclass(frozen=True, kw_only=True)
class LineRain(Weather):
    """Straight lines of whole pixels, all alike but for where they are.

    Attributes:
        coverage: line area over picture area, overlaps counted twice (drawn by magnitude).
        length_px: of all lines (drawn by magnitude).
        width_px: least and greatest number of pixels.
        opacity: of all lines; they hide what is behind them.
        tilt_deg: lean from the vertical.
        varied: probability that lengths vary from line to line.
        light: grey level of the lines.
        tint: greatest departure of a channel from grey.
    """

    kind = "rain"

    coverage: Range = (0.01, 0.25)
    length_px: Range = (5, 70)
    width_px: tuple[int, int] = (1, 3)
    opacity: Range = (0.4, 1.0)
    tilt_deg: Range = (-35.0, 35.0)
    varied: float = 0.3
    light: Range = (0.55, 1.0)
    tint: float = 0.03

    def scene(self, shape: tuple[int, int], rng: np.random.Generator) -> EditorScene:
        """Return lines drawn for pictures of (H, W) pixels."""
        length = draw_log(rng, self.length_px)
        low, high = self.width_px
        width = low + int(rng.integers(high - low + 1) * rng.random())
        tilt = np.radians(draw(rng, self.tilt_deg))
        margin = int(length) + 1
        height, across = shape[0] + 2 * margin, shape[1] + 2 * margin
        coverage = draw_log(rng, self.coverage) * min(1.0, self.severity / NORMAL)
        count = int(coverage * height * across / (length * width))
        lengths = np.full(count, length)
        if rng.random() < self.varied:
            lengths = lengths * rng.uniform(0.3, 1.0, count)
        steps = np.arange(int(length) + 1, dtype=np.float32)
        rows = rng.uniform(0, height, count)[:, None] + np.float32(np.cos(tilt)) * steps
        columns = rng.uniform(0, across, count)[:, None] + np.float32(np.sin(tilt)) * steps
        drawn = steps[None] <= lengths[:, None]
        y = np.rint(rows[drawn]).astype(np.int64) - margin
        x = np.rint(columns[drawn]).astype(np.int64) - margin
        opacity = np.zeros(shape, np.float32)
        level = np.float32(draw(rng, self.opacity) * min(1.0, self.severity / NORMAL))
        for side in range(width):
            inside = (y >= 0) & (y < shape[0]) & (x + side >= 0) & (x + side < shape[1])
            opacity[y[inside], x[inside] + side] = level
        light = draw_light(rng, self.light, self.tint)
        parameters = {"length_px": length, "width_px": width, "light": light.tolist()}
        fall = (length * float(np.cos(tilt)), length * float(np.sin(tilt)))
        return EditorScene(opacity, light, "alpha", "streaks", fall, parameters)
