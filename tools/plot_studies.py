"""Draw the table of each study of the paper as a figure.

    python tools/plot_studies.py docs/runs/studies docs/figures

A dot is a run, a line the mean of a row's runs, a cross what the paper prints. Studies over depths
are curves. A study without scores is left out.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from cmudrn.experiments.study import Study, read_study, shipped_studies


def read(runs: Path, study: str, row: str, seed: int) -> list[dict[str, Any]]:
    """Return a run's cells; none where it has no scores."""
    path = runs / f"{row}-seed{seed}" / f"scores.{study}.json"
    return json.loads(path.read_text())["cells"] if path.is_file() else []


def draw_rows(runs: Path, name: str, study: Study, axes: list[Any]) -> bool:
    """Draw a row of dots for each row of the table, a panel for each weather."""
    found = False
    rows = list(study.rows.items())
    for panel, weather in zip(axes, study.test.names, strict=True):
        for place, (row, config) in enumerate(rows):
            cells = [
                cell
                for seed in config.seeds or study.seeds
                for cell in read(runs, name, row, seed)
                if cell["weather"] == weather
            ]
            scores = [cell["psnr_rgb"] for cell in cells if cell["method"] == "model"]
            if not scores:
                continue
            found = True
            panel.plot(scores, [place] * len(scores), "o", color="tab:blue", markersize=4)
            panel.plot([statistics.fmean(scores)] * 2, [place - 0.3, place + 0.3], color="tab:blue")
            given = next(cell["psnr_rgb"] for cell in cells if cell["method"] == "input")
            panel.axvline(given, color="lightgrey", linewidth=1)
            if weather in config.paper:
                panel.plot(config.paper[weather][0], place, "x", color="tab:red", markersize=5)
        panel.set_title(weather, fontsize=9)
        panel.set_xlabel("PSNR, dB; grey: input" + ("; cross: paper" if config.paper else ""))
        panel.set_yticks(range(len(rows)), [config.title for _, config in rows])
    axes[0].invert_yaxis()  # of all panels, which share it
    return found


def draw_depths(runs: Path, name: str, study: Study, axes: list[Any]) -> bool:
    """Draw PSNR over the recursions, a curve for each row and number of stages."""
    found = False
    for panel, weather in zip(axes, study.test.names, strict=True):
        for (row, config), style in zip(study.rows.items(), ("-", "--"), strict=False):
            cells = [
                cell
                for cell in read(runs, name, row, study.seeds[0])
                if cell["weather"] == weather and cell["method"] == "model"
            ]
            for stages in study.test.stages if cells else ():
                found = True
                mine = [cell for cell in cells if cell["stages"] == stages]
                xs, ys = zip(*[(c["recursions"], c["psnr_rgb"]) for c in mine], strict=True)
                panel.plot(xs, ys, style, label=f"{config.title}, T = {stages}", linewidth=1)
        panel.set_title(weather, fontsize=9)
        panel.set_xlabel("S; PSNR in dB")
    if found:
        axes[0].legend(fontsize=4.5, loc="lower left")
    return found


def main(runs: Path, into: Path) -> None:
    """Write study-NAME.png for each study with scores."""
    plt.rcParams.update({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False})
    for name in shipped_studies():
        study = read_study(name)
        columns = len(study.test.names)
        height = 2.4 if study.test.stages else 0.5 + 0.24 * len(study.rows)
        figure, axes = plt.subplots(
            1, columns, figsize=(7.2, height + 0.5), sharey=True, squeeze=False
        )
        draw = draw_depths if study.test.stages else draw_rows
        if draw(runs, name, study, list(axes[0])):
            figure.tight_layout()
            figure.savefig(into / f"study-{name}.png", dpi=110, metadata={"Software": None})
        plt.close(figure)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
