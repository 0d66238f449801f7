"""Measure what the veil estimator gains and costs, and compare it with the true veil.

    python benchmarks/dehazing.py docs/runs/veil/weights.safetensors --data folder:kodak24

Prints the tables of docs/dehazing.md: PSNR in each weather of the degraded images, of the
correction alone, of a plain model, and of that model after the correction; for veiled snow also
after an oracle that knows transmission and airlight. `--costs` times the estimator instead, and
`--count` counts the pictures in which it finds a veil, those of which less is taken off than it
estimated, and those that the model dehazes without being asked to.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cmudrn.checkpoints.veil_estimator import open_veil_estimator
from cmudrn.datasets import open_dataset
from cmudrn.engines import open_engine
from cmudrn.evaluation.metrics import psnr_rgb
from cmudrn.image import Image, read_image
from cmudrn.image.resampling import make_thumbnail
from cmudrn.restoration import Restorer, restore_image
from cmudrn.restoration.dehazing import VeilCorrection, VeilEstimator
from cmudrn.weather.presets import WEATHERS

SEED = 24  # of `cmudrn evaluate`
SAMPLE = Path(__file__).parents[1] / "samples" / "rain.jpg"


def whole(picture: Image) -> tuple[slice, slice]:
    return slice(0, picture.shape[0]), slice(0, picture.shape[1])


def correct(context: VeilEstimator, picture: Image) -> Image:
    correction = context(picture)(picture, whole(picture), picture.shape[:2])
    return np.ascontiguousarray(correction).clip(-1, 2)


def know(clean: Image, degraded: Image, weather: str, index: int) -> Image:
    """Return the picture without a veil that is known."""
    layers = WEATHERS[weather](clean, np.random.default_rng([SEED, index])).layers
    t, airlight = layers["transmission"][..., None], layers["airlight"]
    return (airlight + (degraded - airlight) / t).astype(np.float32).clip(-1, 2)


def psnr(picture: Image, clean: Image) -> float:
    return psnr_rgb(picture.clip(0, 1), clean)


def compare(context: VeilEstimator, model: str, data: str, weather: str, limit: int | None) -> str:
    """Return a row of the table."""
    restore = Restorer(open_engine(model))
    pairs = open_dataset(data, weather=weather, seed=SEED)
    rows = []
    for index in range(min(len(pairs), limit or len(pairs))):
        clean, degraded = pairs[index].clean, pairs[index].degraded
        correction = correct(context, degraded)
        made = [
            degraded,
            correction,
            *(restore(one, dehaze=False) for one in (degraded, correction)),
        ]
        if weather == "csd-snow":
            known = know(clean, degraded, weather, index)
            made += [known, restore(known, dehaze=False)]
        rows.append([psnr(picture, clean) for picture in made])
    cells = [f"{value:.2f}" for value in np.mean(rows, 0)]
    return " | ".join(["", weather, *cells, *["-"] * (6 - len(cells)), ""]).strip()


def count_veils(
    context: VeilEstimator, restorer: Restorer, data: str, weather: str, limit: int | None
) -> str:
    """Return a row: how many pictures there are, have a veil, have a bounded one, are dehazed."""
    pairs = open_dataset(data, weather=weather, seed=SEED)
    count, found, bounded, dehazed = min(len(pairs), limit or len(pairs)), 0, 0, 0
    for index in range(count):
        degraded = pairs[index].degraded
        thumbnail = make_thumbnail(degraded)
        estimate = context.estimate_both_ways(thumbnail)
        taken = estimate.bounded(thumbnail)
        found += not taken.clear
        bounded += taken is not estimate
        dehazed += restore_image(restorer, degraded).dehazed
    return f"| {weather} | {count} | {found} | {bounded} | {dehazed} |"


def milliseconds(call: Callable[[], object]) -> float:
    times = []
    for _ in range(9):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def print_costs(context: VeilEstimator, model: str) -> None:
    engine = open_engine(model)
    print("| picture | estimate, ms | correction, ms | network, ms | share |")
    print("|---|---|---|---|---|")
    for side in (512, 1024):  # multiples of what the network takes
        stored = np.tile(read_image(SAMPLE), (3, 3, 1))[:side, :side]
        picture = (stored / np.float32(255)).astype(np.float32)
        batch, cells = picture.transpose(2, 0, 1)[None], context(stored).gain.shape
        correction = VeilCorrection(np.full(cells, 1.3, np.float32), np.ones(3, np.float32))
        steps = [
            milliseconds(lambda s=stored: context(s)),
            milliseconds(lambda p=picture, m=correction: m(p, whole(p), p.shape[:2])),
            milliseconds(lambda b=batch: engine(b)),
        ]
        share = sum(steps[:2]) / steps[2]
        print(f"| {side}x{side} | {' | '.join(f'{s:.1f}' for s in steps)} | {share:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="of the veil estimator")
    parser.add_argument("--data", help="clean pictures, as `cmudrn evaluate` takes them")
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--weather", default="csd-snow,clear")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--count", action="store_true")
    options = parser.parse_args()
    context = open_veil_estimator(options.checkpoint)
    if options.costs:
        print_costs(context, options.model)
        return
    if options.count:
        restorer = Restorer(open_engine(options.model))
        print("| weather | pictures | with a veil | bounded | dehazed by itself |")
        print("|---|---|---|---|---|")
        for weather in options.weather.split(","):
            row = count_veils(context, restorer, options.data, weather, options.limit)
            print(row, flush=True)
        return
    print("| weather | input | branch | model | branch, model | oracle | oracle, model |")
    print("|---|---|---|---|---|---|---|")
    for weather in options.weather.split(","):
        row = compare(context, options.model, options.data, weather, options.limit)
        print(row, flush=True)


if __name__ == "__main__":
    main()
