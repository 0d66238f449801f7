"""`cmudrn bench`: how fast this machine is, for the speed dial and as the paper's heat map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.terminal import show

if TYPE_CHECKING:
    from cmudrn.evaluation.heatmap import Cell

SMALLEST, STEP = 100, 50
"""Pixels: the side of the heat map's first pictures, and how much longer the next ones are."""


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="A shipped model's name, or a file.")] = "cmudrn",
    engine: Annotated[str, typer.Option(help="auto, native, onnx or openvino.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    rounds: Annotated[int, typer.Option(min=1, help="Calls at each depth; medians count.")] = 5,
    heatmap: Annotated[
        Path | None,
        typer.Option(
            help="Write the paper's figure 4 to this CSV file, and beside it as PNG; goes on where "
            "a stopped run was."
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(min=1, help="Pictures that are timed for each cell of the heat map.")
    ] = 3,
    largest: Annotated[
        int, typer.Option(min=100, help="Side of the heat map's largest pictures, pixels.")
    ] = 1000,
    loops: Annotated[
        int,
        typer.Option(
            min=1, max=7, help="Largest T = S of the heat map; a model of one depth has its own."
        ),
    ] = 7,
) -> None:
    """Time a model on this machine and keep the profile for `restore --budget-ms`."""
    from cmudrn.engines import open_engine
    from cmudrn.restoration.profile import measure_profile, profile_path, save_profile

    label = f"{engine} {precision}"
    if heatmap is not None:
        from cmudrn.evaluation.heatmap import measure_heatmap

        opened = open_engine(model, engine, None, precision)
        kind = type(opened).__name__.removesuffix("Engine")
        title = f"{_fingerprint()}; {opened.info.name} {opened.info.sha256[:8]}, {kind} "
        title += f"{opened.precision} {getattr(opened, 'instruction_set', '')}".rstrip()
        unit = opened.info.alignment
        sides = [-(-side // unit) * unit for side in range(SMALLEST, largest + 1, STEP)]
        depths = range(1, loops + 1) if opened.info.adjustable else (opened.info.stages,)
        measure_heatmap(opened, heatmap, title, sides, depths, pictures, _tell)
        return
    profile = measure_profile(lambda n: open_engine(model, engine, n, precision), label, rounds)
    info = open_engine(model, engine, 1, precision).info
    save_profile(profile, profile_path(info, label))
    show(_fingerprint(), "threads  T  S  ms per megapixel")
    own = (info.stages, info.recursions)
    for threads in profile.costs:
        for depth in sorted({(1, 1), own} if info.adjustable else {own}):
            expected = profile.milliseconds(1_000_000, *depth, threads)
            show(f"{threads:>7}  {depth[0]}  {depth[1]}  {expected:.0f}")


def _tell(cell: Cell) -> None:
    show(
        f"{cell.side}x{cell.side}, T = S = {cell.loops}: {1 / cell.median_s:.2f} a second", err=True
    )


def _fingerprint() -> str:
    """Return the processor, how much of it may be used, and what measured."""
    import platform

    from cmudrn.engines.base import available_cores
    from cmudrn.engines.native import instruction_sets
    from cmudrn.version import __version__

    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    sets = " ".join((*instruction_sets("bf16"), *instruction_sets())) or "no native engine"
    return f"{name}, {available_cores()} cores, {sets}, cmudrn {__version__}"
