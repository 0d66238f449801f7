"""Make a checkpoint the model that ships under a name: file, weather score, scores, tables.

    python tools/ship_model.py docs/runs/x/weights.safetensors DATA --name cmudrn

DATA is a folder as docs/datasets.md describes it: `clean/train`, `clean/train_urban`, `clean/val`,
`clean/val_urban`, `clean/test_kodak24`, `paired/rain100l_40`, `paired/rain100h_40`. In order:

1. change gating is chosen (`fit_change_gating.py`), on the exported weights;
2. the model file is written to src/cmudrn/models/weights;
3. the weather score is calibrated for that very file, or the model has none
   (`fit_weather_classifier.py`);
4. the model is scored, and weights.toml, docs/results/models.md, and the tables of the README and
   of docs/multi-scale.md that have a column of this name get the numbers.

What is printed belongs into the docs: docs/models.md (change gating), docs/weather-score.md. The
same checkpoint and data give the same files. `--no-scores` leaves the fourth step but for the entry
in weights.toml. `--comparison` leaves the first and the third: a model for comparisons is the
network alone, and keeps the preset that weights.toml names.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import fit_change_gating
import fit_weather_classifier
import numpy as np

import cmudrn
from cmudrn.datasets import Dataset, open_dataset
from cmudrn.evaluation.metrics import psnr_rgb8, psnr_y, ssim_rgb
from cmudrn.export.export_checkpoint import export_checkpoint
from cmudrn.models.model_file import make_info, read_model_file

ROOT = Path(__file__).parents[1]
WEIGHTS = Path("src/cmudrn/models/weights")
CALIBRATIONS = Path("src/cmudrn/restoration/weather_classifier.json")
RESULTS = Path("docs/results/models.md")
TABLES = (Path("README.md"), Path("docs/multi-scale.md"))

KODAK = ("clear", "csd-rain", "light-rain", "snow", "csd-snow", "light-snow")
URBAN = ("clear", "light-rain", "csd-rain", "snow")
ALIASES = {"Kodak24 ": "test_kodak24 ", "Rain100L": "rain100l_40", "Rain100H": "rain100h_40"}
"""What the README calls a set, or the beginning of its name."""

Scores = dict[str, dict[str, float]]
"""Set -> measure -> mean; the measures are input_psnr_db, psnr_db, psnr_y_db and ssim."""


def sets(data: Path) -> dict[str, Dataset]:
    """Return the sets that a model is scored on, by name."""
    clean, paired = data / "clean", data / "paired"
    found: dict[str, Dataset] = {}
    for folder, weathers in (("test_kodak24", KODAK), ("val_urban", URBAN)):
        for weather in weathers:
            found[f"{folder} {weather}"] = open_dataset(f"folder:{clean / folder}", weather=weather)
    for name in ("rain100l_40", "rain100h_40"):
        found[name] = open_dataset(f"rain100:{paired / name}")
    return found


def score(model: Path, datasets: Mapping[str, Dataset]) -> Scores:
    """Return the mean scores of a model file, as `cmudrn evaluate` gives them."""
    restorer = cmudrn.load(model, threads=1, precision="fp32")
    found: Scores = {}
    for name, dataset in datasets.items():
        rows = []
        for index in range(len(dataset)):
            pair = dataset[index]
            restored = restorer(pair.degraded)
            measures = (psnr_rgb8, psnr_y, ssim_rgb)
            rows.append(
                [psnr_rgb8(pair.degraded, pair.clean)]
                + [measure(restored, pair.clean) for measure in measures]
            )
        means = map(float, np.mean(rows, 0))
        keys = ("input_psnr_db", "psnr_db", "psnr_y_db", "ssim")
        found[name] = dict(zip(keys, means, strict=True))
        print(f"{name}: {found[name]['psnr_db']:.2f} dB, {found[name]['ssim']:.4f}", flush=True)
    return found


def section(text: str, head: str) -> tuple[int, int]:
    """Return where a table of a TOML text begins, after its head, and where it ends."""
    start = text.index(f"[{head}]\n") + len(head) + 3
    end = text.find("\n[", start)
    return start, len(text) if end < 0 else end + 1


def with_values(text: str, name: str, values: Mapping[str, str]) -> str:
    """Return weights.toml with other strings in the entry of a model, which it has already."""
    start, end = section(text, name)
    entry = text[start:end]
    for key, value in values.items():
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        entry = re.sub(rf"^{key} = .*$", lambda _, line=line: line, entry, flags=re.MULTILINE)
    return text[:start] + entry + text[end:]


def with_scores(text: str, name: str, scores: Scores) -> str:
    """Return weights.toml with other scores of a model."""
    start, end = section(text, f"{name}.scores")
    lines = [
        f'"{key}" = {{ input_psnr_db = {row["input_psnr_db"]:.2f}, psnr_db = {row["psnr_db"]:.2f}, '
        f"ssim = {row['ssim']:.4f} }}\n"
        for key, row in scores.items()
        if not key.startswith("val_")
    ]
    blank = "\n" if end < len(text) else ""
    return text[:start] + "".join(lines) + blank + text[end:]


def with_result_rows(text: str, name: str, scores: Scores) -> str:
    """Return docs/results/models.md with other numbers of a model."""
    for key, row in scores.items():
        numbers = f"{row['psnr_db']:.2f} | {row['psnr_y_db']:.2f} | {row['ssim']:.4f} |"
        pattern = rf"^(\| {re.escape(key)} \| \d+ \| {re.escape(name)} \|).*$"
        text = re.sub(pattern, rf"\1 {numbers}", text, flags=re.MULTILINE)
    return text


def with_column(text: str, name: str, scores: Scores) -> str:
    """Return a page with other numbers in the columns of a model, "PSNR, SSIM" by set."""
    lines, column = text.split("\n"), None
    for number, line in enumerate(lines):
        if not line.startswith("|"):
            column = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "set" and name in cells:
            column = cells.index(name)
        elif column is not None and (key := set_called(cells[0])) in scores:
            row = scores[key]
            cells[column] = f"{row['psnr_db']:.2f}, {row['ssim']:.4f}"
            lines[number] = f"| {' | '.join(cells)} |"
    return "\n".join(lines)


def set_called(title: str) -> str:
    """Return the name of a set that a page calls so."""
    for alias, name in ALIASES.items():
        if title.startswith(alias):
            return title.replace(alias, name)
    return title


def rewrite(path: Path, text: str) -> None:
    """Write a text file in its place."""
    path.write_text(text, encoding="utf-8")


def ship(
    checkpoint: Path,
    data: Path,
    name: str,
    *,
    root: Path = ROOT,
    veil_estimator: Path | None = None,
    trained_on: str = "",
    comparison: bool = False,
    scored: bool = True,
) -> None:
    """Do all that the head of this file says, below a folder."""
    photographs, listed = data / "clean", root / WEIGHTS / "weights.toml"
    section(listed.read_text(encoding="utf-8"), name)  # before anything is written
    decibels = None
    if not comparison:
        decibels = choose_change_gating(checkpoint, name, photographs, veil_estimator)
    model = root / WEIGHTS / f"{name}.onnx"
    export_checkpoint(
        checkpoint,
        model,
        name,
        veil_estimator=veil_estimator,
        change_gating_db=decibels,
        overwrite=True,
    )
    record = make_info(read_model_file(model)).metadata
    values = {"sha256": sha256(model.read_bytes()).hexdigest(), "licence": record["licence"]}
    if not comparison:
        _, judged = fit_weather_classifier.calibrate(model, photographs, root / CALIBRATIONS)
        print(judged, flush=True)
        values["preset"] = record["training"]["config"]["name"]
    if trained_on:
        values["trained_on"] = trained_on
    rewrite(listed, with_values(listed.read_text(encoding="utf-8"), name, values))
    if scored:
        keep_scores(root, name, score(model, sets(data)))


def choose_change_gating(
    checkpoint: Path, name: str, photographs: Path, veil_estimator: Path | None
) -> float | None:
    """Return the threshold for a checkpoint's weights, or None, and print what it was chosen by."""
    with tempfile.TemporaryDirectory() as folder:
        ungated = Path(folder) / f"{name}.onnx"
        export_checkpoint(checkpoint, ungated, name, veil_estimator=veil_estimator)
        gating = fit_change_gating.measure(ungated, photographs)
    decibels = fit_change_gating.choose(gating)
    print(fit_change_gating.table(gating))
    print(f"\nChange gating: {'none' if decibels is None else f'{decibels:g} dB'}.\n", flush=True)
    return decibels


def keep_scores(root: Path, name: str, scores: Scores) -> None:
    """Write a model's scores wherever they stand."""
    listed = root / WEIGHTS / "weights.toml"
    rewrite(listed, with_scores(listed.read_text(encoding="utf-8"), name, scores))
    results = root / RESULTS
    rewrite(results, with_result_rows(results.read_text(encoding="utf-8"), name, scores))
    for page in (root / path for path in TABLES):
        rewrite(page, with_column(page.read_text(encoding="utf-8"), name, scores))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="of the run, or its averaged weights")
    parser.add_argument("data", type=Path, help="folder of the photographs and of Rain100")
    parser.add_argument("--name", default="cmudrn", help="an entry of weights.toml")
    parser.add_argument("--veil-estimator", type=Path, help="checkpoint of one, put before it")
    parser.add_argument("--trained-on", default="", help="one sentence for weights.toml")
    parser.add_argument(
        "--comparison", action="store_true", help="no change gating, no weather score"
    )
    parser.add_argument("--no-scores", action="store_true", help="leave the scores as they are")
    given = parser.parse_args()
    if given.comparison and given.veil_estimator:
        parser.error("A model for comparisons has no veil estimator before it.")
    ship(
        given.checkpoint,
        given.data,
        given.name,
        veil_estimator=given.veil_estimator,
        trained_on=given.trained_on,
        comparison=given.comparison,
        scored=not given.no_scores,
    )
