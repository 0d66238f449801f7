"""`cmudrn parity`: how near and how fast every engine is on this machine."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.terminal import show

if TYPE_CHECKING:
    from cmudrn.engines import Engine
    from cmudrn.image import Image

CHOICES = (
    ("onnx", "fp32"),
    ("native", "fp32"),
    ("native", "bf16"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)


@app.command()
def parity(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a file.")] = "cmudrn",
    side: Annotated[int, typer.Option(min=16, help="Side of the square picture, pixels.")] = 500,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved calls; medians count.")] = 5,
    picture: Annotated[
        str | None, typer.Option(help="Picture to lay weather over; by default a drawn one.")
    ] = None,
) -> None:
    """Compare every engine with ONNX Runtime: difference, PSNR, PSNR lost, time.

    Rendered rain and snow are laid over a picture. PSNR is against ONNX Runtime's answer; lost is
    how much nearer to the picture that answer is, in dB, the worse of the two weathers. Sides are
    cut to what the model takes, such as multiples of 16.
    """
    import numpy as np

    from cmudrn.engines import open_engine
    from cmudrn.engines.native.precision_check import trial_picture
    from cmudrn.errors import CmudrnError
    from cmudrn.image import from_batch, read_image, to_batch
    from cmudrn.restoration import run_network
    from cmudrn.weather import WEATHERS

    engines: dict[str, Engine] = {}
    for name, precision in CHOICES:
        try:
            engines[f"{name} {precision}"] = open_engine(model, name, None, precision)
        except CmudrnError as error:
            if not engines:  # the first is what the others are compared with
                raise
            show(f"{name} {precision}: {error}", err=True)
    clean = from_batch(trial_picture(side, side)) if picture is None else read_image(picture)
    step = engines["onnx fp32"].info.alignment
    height, width = (max(1, min(side, n) // step) * step for n in clean.shape[:2])
    clean = np.ascontiguousarray(clean[:height, :width])
    rng = np.random.default_rng(0)
    degraded = [WEATHERS[name](clean, rng).degraded for name in ("csd-rain", "csd-snow")]
    batches = [to_batch(one.astype(np.float32)) for one in degraded]
    answers = {
        label: [from_batch(run_network(engine, batch).restored).clip(0, 1) for batch in batches]
        for label, engine in engines.items()
    }
    seconds: dict[str, list[float]] = {label: [] for label in engines}
    for _ in range(rounds):
        for label, engine in engines.items():
            start = time.perf_counter()
            run_network(engine, batches[0])
            seconds[label].append(time.perf_counter() - start)
    show("engine          largest diff  PSNR dB  lost dB       ms")
    exact = answers["onnx fp32"]
    for label, restored in answers.items():
        largest = max(float(np.abs(a - b).max()) for a, b in zip(restored, exact, strict=True))
        near = min(_decibels(a, b) for a, b in zip(restored, exact, strict=True))
        lost = max(
            _decibels(b, clean) - _decibels(a, clean) for a, b in zip(restored, exact, strict=True)
        )
        milliseconds = 1e3 * statistics.median(seconds[label])
        show(f"{label:<15} {largest:12.2g} {near:8.1f} {lost:8.4f} {milliseconds:8.1f}")


def _decibels(a: Image, b: Image) -> float:
    import numpy as np

    error = float(np.mean(np.square(a.astype(np.float64) - b)))
    return float("inf") if error == 0 else float(-10 * np.log10(error))
