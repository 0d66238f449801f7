"""What fusion over time is worth on clips with a known truth.

    python benchmarks/temporal.py $CMUDRN_DATA/clean/test_kodak24

Photographs become clips of a camera that stands, pans, zooms or shakes, with two cut-outs of other
photographs that move across. Rain or snow falls in them as `cmudrn weather --frames` renders it;
then come sensor noise and H.264. Means over pictures and frames, for the network on single frames,
a plain median of five restored frames, fusion with two later frames (clip) and with none (stream):

* PSNR, dB: of all but the cut-outs; of the cut-outs.
* SSIM of the whole frame.
* temporal error: mean difference from the frame before, warped by the camera's true motion, 255ths.
* flicker: the same where no weather fell in either frame; of the source as well.
* ghost: share of what the other frames show at places that a cut-out reaches or leaves, percent.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import map_coordinates
from skimage.metrics import structural_similarity

import cmudrn
from cmudrn.image import Image, Pixels, read_image
from cmudrn.restoration.frame_window import SeenFrame, fuse_frame, see
from cmudrn.training.data.clean_patches import list_pictures
from cmudrn.weather.presets import WEATHERS

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.clips import through_h264

NOISE, CRF, FRAMES, SHOWN = 2.0, 20, 8, (4, 5)
"""Sigma in 255ths, quality of H.264, frames of a clip, and those that are measured at most."""
CAMERAS = ("static", "pan", "zoom", "shake")


@dataclass(frozen=True)
class Truth:
    """A clip without weather.

    Attributes:
        frames: (N, H, W, 3).
        places: (N, 2, H, W): where in the photograph each pixel lies.
        movers: (N, H, W): where cut-outs are.
    """

    frames: Image
    places: np.ndarray
    movers: np.ndarray


def camera_path(camera: str, rng: np.random.Generator) -> Iterator[tuple[float, float, float]]:
    """Yield (down, across, scale) of the camera for each frame."""
    for number in range(FRAMES):
        if camera == "pan":
            yield 0.4 * number, 2.3 * number, 1.0
        elif camera == "zoom":
            yield 0.0, 0.0, 1 - 0.004 * number
        elif camera == "shake":
            down, across = rng.normal(0, 1.5, 2)
            yield down, across, 1.0
        else:
            yield 0.0, 0.0, 1.0


def make_truth(still: Image, other: Image, camera: str, size: tuple[int, int], seed: int) -> Truth:
    """Return a clip of a photograph with two cut-outs of another one."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    middle = (size[0] / 2, size[1] / 2)
    frames, places, movers = [], [], []
    for number, (down, across, scale) in enumerate(camera_path(camera, rng)):
        at = np.stack([
            (y - middle[0]) * scale + still.shape[0] / 2 + down,
            (x - middle[1]) * scale + still.shape[1] / 2 + across,
        ])  # fmt: skip
        if camera == "static":
            at = np.floor(at)
        planes = [map_coordinates(still[..., c], at, order=3, mode="reflect") for c in range(3)]
        frame, mask = np.stack(planes, -1).clip(0, 1), np.zeros(size, bool)
        for radius, speed, row in ((24, 9, 0.35), (15, 4, 0.7)):
            centre = (int(row * size[0]), 60 + speed * number)
            disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2
            cut = np.argwhere(disc) - centre + (200, 250)
            frame[disc] = other[cut[:, 0], cut[:, 1]]
            mask |= disc
        frames.append(frame.astype(np.float32))
        places.append(at)
        movers.append(mask)
    return Truth(np.stack(frames), np.stack(places), np.stack(movers))


def warp(image: np.ndarray, truth: Truth, source: int, target: int) -> np.ndarray:
    """Return an image of frame `source` as it looks from `target`."""
    corner, step = truth.places[source][:, 0, 0], truth.places[source][:, 1, 1]
    at = (truth.places[target] - corner[:, None, None]) / (step - corner)[:, None, None]
    planes = [map_coordinates(image[..., c], at, order=1, mode="nearest") for c in range(3)]
    return np.stack(planes, -1)


def psnr(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> float:
    """Return the PSNR of two images of 255ths at the masked pixels."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other)[where] ** 2)))


def measure(
    results: dict[int, Pixels], truth: Truth, dry: np.ndarray, number: int
) -> dict[str, float]:
    """Return what is measured of the results of one method at a frame."""
    clean, mask = truth.frames[number] * 255.0, truth.movers[number]
    result = results[number].astype(float)
    scores = {
        "psnr": psnr(result, clean, ~mask),
        "movers": psnr(result, clean, mask),
        "ssim": structural_similarity(
            result, clean, channel_axis=2, data_range=255, gaussian_weights=True
        ),
        "ghost": 100 * ghost(result, truth, number),
    }
    if number - 1 in results:
        moved = warp(results[number - 1].astype(float), truth, number - 1, number)
        still = ~(mask | truth.movers[number - 1])
        change = np.abs(result - moved).mean(axis=2)
        scores["temporal"] = float(change[still].mean())
        quiet = still & dry[number] & dry[number - 1]
        scores["flicker"] = float(change[quiet].mean())
    return scores


def ghost(result: np.ndarray, truth: Truth, number: int) -> float:
    """Return the largest share of another frame that a result shows where cut-outs came or went."""
    clean, shares = truth.frames[number] * 255.0, []
    for other in range(max(0, number - 2), min(FRAMES, number + 3)):
        if other == number:
            continue
        seen = warp(truth.frames[other] * 255.0, truth, other, number)
        where = truth.movers[number] ^ truth.movers[other]
        theirs, ours = (seen - clean)[where], (result - clean)[where]
        shares.append(float((theirs * ours).sum() / (theirs**2).sum()))
    return max(shares)


def methods(
    raw: list[Pixels], restored: list[Pixels], spent: dict[str, float]
) -> dict[str, dict[int, Pixels]]:
    """Return each method's results by number of frame."""
    begin, seen = time.process_time(), list[SeenFrame]()
    for pair in zip(raw, restored, strict=True):
        seen.append(see(*pair, seen[-1] if seen else None))
    spent["seen"] += (time.process_time() - begin) / len(raw)
    results: dict[str, dict[int, Pixels]] = defaultdict(dict)
    for number in SHOWN:
        low, high = max(0, number - 2), min(number + 3, FRAMES)
        results["source"][number] = raw[number]
        results["single"][number] = restored[number]
        median = np.median(np.stack(restored[low:high]), axis=0)
        results["median"][number] = median
        begin = time.process_time()
        clip = fuse_frame(seen[low:high], number - low)
        spent["fused"] += (time.process_time() - begin) / len(SHOWN)
        past = max(0, number - 4)
        stream = fuse_frame(seen[past : number + 1], number - past)
        results["clip"][number] = restored[number] if clip is None else clip
        results["stream"][number] = restored[number] if stream is None else stream
    return results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clean", type=Path, help="folder of clean photographs")
    parser.add_argument("--weather", default="light-rain,snow,csd-rain")
    parser.add_argument("--cameras", default=",".join(CAMERAS))
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--size", default="256x384", help="rows x columns")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    restorer = cmudrn.load(options.model, threads=1)
    stills = [np.asarray(read_image(p)) for p in list_pictures(options.clean)[4::5]]
    stills = [s if s.shape[1] > s.shape[0] else s.transpose(1, 0, 2) for s in stills]
    columns = ("psnr", "movers", "ssim", "temporal", "flicker", "ghost")
    print("| camera | weather | method |", " | ".join(columns), "|")
    print("|---|---|---|" + "---:|" * len(columns))
    spent: dict[str, float] = defaultdict(float)
    clips = 0
    for camera in options.cameras.split(","):
        for weather in options.weather.split(","):
            rows: dict[str, list[dict[str, float]]] = defaultdict(list)
            for index in range(options.pictures):
                other = stills[(index + 1) % len(stills)]
                truth = make_truth(stills[index], other, camera, (height, width), index)
                rng = np.random.default_rng([7, index])
                scene = WEATHERS[weather].scene((height, width), rng)
                wet = [scene(frame, n).degraded for n, frame in enumerate(truth.frames)]
                pairs = zip(wet, truth.frames, strict=True)
                dry = np.stack([np.abs(a - b).max(axis=2) < 1 / 255 for a, b in pairs])
                noisy = [f * 255 + rng.normal(0, NOISE, f.shape) for f in wet]
                eight_bit = [np.clip(np.rint(f), 0, 255).astype(np.uint8) for f in noisy]
                raw = through_h264(eight_bit, CRF)
                begin = time.process_time()
                restored = [restorer(frame, dehaze=False) for frame in raw]
                spent["network"] += (time.process_time() - begin) / len(raw)
                clips += 1
                for name, results in methods(raw, restored, spent).items():
                    rows[name] += [measure(results, truth, dry, number) for number in SHOWN]
            for name, scores in rows.items():
                means = [np.mean([s[c] for s in scores if c in s]) for c in columns]
                digits = (2, 2, 4, 2, 2, 1)
                cells = [f"{m:.{d}f}" for m, d in zip(means, digits, strict=True)]
                print(f"| {camera} | {weather} | {name} |", " | ".join(cells), "|", flush=True)
    print({name: f"{1000 * value / clips:.0f} ms a frame" for name, value in spent.items()})


if __name__ == "__main__":
    main()
