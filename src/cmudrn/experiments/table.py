"""A study's table. A cell is shown only if made from today's configuration, data and code."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmudrn.errors import FileError
from cmudrn.evaluation.methods import INPUT
from cmudrn.experiments.study import RowConfig, Study, Trial, read_cells

Cells = list[str]


def describe(study: Study, trials: Sequence[Trial]) -> str:
    """Return a sentence on how a study's runs were trained and scored."""
    steps: dict[str, set[int]] = {}
    for config in (trial.config for trial in trials):
        patches = f"{config.data.batch} patches of {config.data.patch} x {config.data.patch}"
        steps.setdefault(patches, set()).add(config.training.steps)
    trained = [
        f"{' or '.join(map(str, sorted(counts)))} steps of {patches}"
        for patches, counts in steps.items()
    ]
    test = study.test
    texts = [*test.sets.values(), *([test.data] if test.weathers else [])]
    places = " and ".join(Path(text.partition(":")[2]).name for text in texts)
    how = (
        "In brackets: seconds for a picture on one thread, the median, other runs beside it."
        if test.stages
        else "Where a row has several runs: their mean, and the lowest and highest PSNR."
    )
    share = f"the first {test.pictures}" if test.pictures else "all"
    found = [read_cells(trial, test, check=False) for trial in trials]
    cells = [cell for one in found if isinstance(one, list) for cell in one]
    there = max((cell.get("pictures", 0) for cell in cells), default=0)
    if test.pictures and 0 < there < test.pictures:
        share = f"all {there}"
    return (
        f"{study.title}: {' or '.join(sorted(trained))} pixels a run. PSNR and SSIM of RGB values, "
        f"mean over {share} pictures of {places}. {how}"
    )


def make_table(study: Study, trials: Sequence[Trial], *, check: bool = True) -> list[Cells]:
    """Return a heading and rows: each row's scores, or in words why it has none.

    Several seeds are shown as their mean with the lowest and highest PSNR. Scores on weather that
    the row's runs never saw in training are marked.

    Args:
        study: its file.
        trials: its runs.
        check: as for `read_cells`.

    Raises:
        CmudrnError: data are missing, or a file of scores is damaged.
    """
    read = {trial.folder.name: read_cells(trial, study.test, check=check) for trial in trials}
    if study.test.stages:
        return _depth_table(study, trials, read)
    paper = any(row.paper for row in study.rows.values())
    heading = ["row", "runs"]
    for weather in study.test.names:
        heading += [f"{weather} PSNR dB", "SSIM", *(["paper"] if paper else [])]
    rows = [heading, *_input_row(study, read, paper)]
    for name in dict.fromkeys(trial.row for trial in trials):
        mine = [trial for trial in trials if trial.row == name]
        row = study.rows[name]
        cells = [row.title, " ".join(f"`{trial.folder.name}`" for trial in mine)]
        for weather in study.test.names:
            cells += _scores(mine, [read[trial.folder.name] for trial in mine], weather)
            cells += [_of_paper(row, weather)] if paper else []
        rows.append(cells)
    return rows


def insert(table: str, path: Path, name: str) -> None:
    """Put a table between a page's markers `<!-- study NAME -->` and `<!-- end of study NAME -->`.

    Raises:
        FileError: the page has no such markers.
    """
    first, last = f"<!-- study {name} -->", f"<!-- end of study {name} -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if first not in text or last not in text:
        raise FileError(
            f"{path} has no lines {first} and {last} to put the table between.", path=path
        )
    before, rest = text.split(first, 1)
    after = rest.split(last, 1)[1]
    path.write_text(f"{before}{first}\n\n{table}\n{last}{after}", encoding="utf-8")


def _input_row(study: Study, read: dict[str, Any], paper: bool) -> list[Cells]:
    shown = next((cells for cells in read.values() if not isinstance(cells, str)), None)
    if shown is None:
        return []
    cells = ["input", ""]
    for weather in study.test.names:
        found = next(c for c in shown if c["weather"] == weather and c["method"] == INPUT)
        cells += [f"{found['psnr_rgb']:.2f}", _mean_ssim([found]), *([""] if paper else [])]
    return [cells]


def _scores(
    trials: Sequence[Trial], runs: Sequence[list[dict[str, Any]] | str], weather: str
) -> Cells:
    reasons = [run for run in runs if isinstance(run, str)]
    if reasons:
        return [reasons[0], reasons[0]]
    found = [
        cell
        for run in runs
        for cell in run
        if not isinstance(cell, str) and cell["weather"] == weather and cell["method"] != INPUT
    ]
    psnr = [cell["psnr_rgb"] for cell in found]
    text = f"{statistics.fmean(psnr):.2f}"
    if len(psnr) > 1:
        text += f" ({min(psnr):.2f} to {max(psnr):.2f})"
    if any(_never_saw(trial, weather) for trial in trials):
        text += " (not trained on it)"
    return [text, _mean_ssim(found)]


def _mean_ssim(cells: Sequence[dict[str, Any]]) -> str:
    """Return the mean SSIM; nothing where a picture is too small to have one."""
    if not all("ssim_rgb" in cell for cell in cells):
        return ""
    return f"{statistics.fmean(cell['ssim_rgb'] for cell in cells):.3f}"


def _never_saw(trial: Trial, weather: str) -> bool:
    tasks = {s.task for s in trial.config.data.sources.values() if s.weather == weather}
    return bool(tasks) and not tasks & {*trial.config.network.tasks, "all"}


def _of_paper(row: RowConfig, weather: str) -> str:
    if weather not in row.paper:
        return ""
    psnr, ssim = row.paper[weather]
    return f"{psnr:.2f} / {ssim:.2f}"


def _depth_table(study: Study, trials: Sequence[Trial], read: dict[str, Any]) -> list[Cells]:
    recursions = study.test.recursions
    rows = [["row", "run", "weather", "T", *(f"S = {s}, dB (s)" for s in recursions)]]
    for trial in trials:
        run = read[trial.folder.name]
        for weather in study.test.names:
            for stages in study.test.stages:
                cells = [
                    study.rows[trial.row].title,
                    f"`{trial.folder.name}`",
                    weather,
                    str(stages),
                ]
                cells += [_at_depth(run, weather, stages, s) for s in recursions]
                rows.append(cells)
    return rows


def _at_depth(run: list[dict[str, Any]] | str, weather: str, stages: int, recursions: int) -> str:
    if isinstance(run, str):
        return run
    wanted = {"weather": weather, "stages": stages, "recursions": recursions, "method": "model"}
    cell = next(c for c in run if all(c[key] == value for key, value in wanted.items()))
    return f"{cell['psnr_rgb']:.2f} ({cell['seconds']:.2f})"
