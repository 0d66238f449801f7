"""`cmudrn bench`: how fast this machine is, for the speed dial and as the paper's heat map."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.app import app

if TYPE_CHECKING:
    from cmudrn.engines import Engine

SIZES = range(100, 1001, 50)
LOOPS = range(1, 8)
FIELDS = ("side", "loops", "median_s", "least_s", "most_s", "pictures", "gflops", "peak_gflops")


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="A shipped model's name, or a file.")] = "cmudrn",
    engine: Annotated[str, typer.Option(help="auto, native, onnx or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    heatmap: Annotated[
        Path | None,
        typer.Option(help="Write the paper's figure 4 to this CSV file, and beside it as PNG."),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="A cell of the heat map.")] = 3,
    largest: Annotated[int, typer.Option(min=100, help="Side of the heat map's end.")] = 1000,
    loops: Annotated[int, typer.Option(min=1, max=7, help="Most T = S of the heat map.")] = 7,
) -> None:
    """Time a model on this machine and keep the profile for `restore --budget-ms`."""
    from cmudrn.engines import open_engine
    from cmudrn.engines.profile import measure_profile, profile_path, save_profile

    label = f"{engine} {precision}"
    if heatmap is not None:
        _heatmap(open_engine(model, engine, None, precision), heatmap, pictures, largest, loops)
        return
    profile = measure_profile(lambda n: open_engine(model, engine, n, precision), label)
    info = open_engine(model, engine, 1, precision).info
    save_profile(profile, profile_path(info, label))
    typer.echo(f"{_fingerprint()}\nthreads  T  S  ms per megapixel")
    for threads in profile.costs:
        for depth in sorted({(1, 1), (info.stages, info.recursions)}):
            expected = profile.milliseconds(1_000_000, *depth, threads)
            typer.echo(f"{threads:>7}  {depth[0]}  {depth[1]}  {expected:.0f}")


def _heatmap(engine: Engine, path: Path, pictures: int, largest: int, loops: int) -> None:
    from cmudrn.engines.native import instruction_sets, peak_gflops
    from cmudrn.engines.profile import time_call
    from cmudrn.errors import CmudrnError

    precision = getattr(engine, "precision", "fp32")
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise CmudrnError(f"Cannot write {path}: {error.strerror}.") from error
    with file:
        file.write(f"# {_fingerprint()}; {type(engine).__name__} {precision}\n")
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for side in (size for size in SIZES if size <= largest):
            for depth in (loop for loop in LOOPS if loop <= loops):
                peak = peak_gflops(200_000, precision=precision) if instruction_sets() else 0.0
                seconds = time_call(engine, side, side, depth, depth, pictures)
                middle = statistics.median(seconds)
                work = side * side * 2 * (2 * depth * (1296 + 9216 * depth) + 3600) / 1e9
                row = [side, depth, middle, min(seconds), max(seconds), pictures, work / middle]
                writer.writerow([*(f"{value:.5g}" for value in row), f"{peak:.5g}"])
                file.flush()
    _draw(path)


def _draw(path: Path) -> None:
    """Draw the CSV beside it as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines[1:]))
    sides = sorted({int(row["side"]) for row in rows})
    depths = sorted({int(row["loops"]) for row in rows})
    times = np.full((len(depths), len(sides)), np.nan)
    for row in rows:
        times[depths.index(int(row["loops"])), sides.index(int(row["side"]))] = row["median_s"]
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    image = axes.imshow(times, origin="lower", aspect="auto", norm="log", cmap="viridis")
    axes.set_xticks(range(len(sides)), [str(side) for side in sides], fontsize=8)
    axes.set_yticks(range(len(depths)), [str(depth) for depth in depths])
    axes.set(xlabel="side of the square picture, pixels", ylabel="loops, T = S")
    axes.set_title(lines[0].removeprefix("# "), fontsize=8)
    figure.colorbar(image, label="seconds, median")
    figure.savefig(path.with_suffix(".png"), dpi=110)


def _fingerprint() -> str:
    """Return the processor, how much of it may be used, and what measured."""
    import platform

    import cmudrn
    from cmudrn.engines.engine import available_cores
    from cmudrn.engines.native import instruction_sets

    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    sets = " ".join((*instruction_sets("bf16"), *instruction_sets())) or "no native engine"
    return f"{name}, {available_cores()} cores, {sets}, cmudrn {cmudrn.__version__}"
