"""What fusion over time is worth on clips with a known truth.

    python benchmarks/temporal.py $CMUDRN_DATA/clean/test_kodak24
    python benchmarks/temporal.py $CMUDRN_DATA/clean/val $CMUDRN_DATA/clean/val_urban --pictures 6

Photographs become clips of a camera that stands, pans, zooms or shakes, with two cut-outs of other
photographs that move across. Rain or snow falls in them as `cmudrn weather --frames` renders it;
then come sensor noise and H.264. Means over pictures and frames, for the network on single frames,
a plain median of five restored frames, fusion with later frames (clip) and with none (stream):

* PSNR, dB: of all but the cut-outs; of the cut-outs.
* SSIM of the whole frame.
* temporal error: mean difference from the frame before, warped by the camera's true motion, 255ths.
* flicker: the same where no weather fell in either frame; of the source as well.
* ghost: share of what the other frames show at places that a cut-out reaches or leaves, percent.

A second table has gains over the single frame, with twice the standard error over the pictures. "At
most" is what the same clip without weather has after noise and H.264: fusion cannot add more.
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
from cmudrn.restoration.frame_restorer import CLIP_LOOKAHEAD
from cmudrn.restoration.frame_window import LONGEST, SeenFrame, fuse_frame, see
from cmudrn.training.data.clean_patches import list_pictures
from cmudrn.weather.presets import WEATHERS

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.clips import through_h264

NOISE, CRF, FRAMES, SHOWN = 2.0, 20, 12, (6, 7)
"""Sigma in 255ths, quality of H.264, frames of a clip, and those that are measured."""
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
    for other in range(max(0, number - 4), min(FRAMES, number + 5)):
        if other == number:
            continue
        seen = warp(truth.frames[other] * 255.0, truth, other, number)
        where = truth.movers[number] ^ truth.movers[other]
        theirs, ours = (seen - clean)[where], (result - clean)[where]
        shares.append(float((theirs * ours).sum() / (theirs**2).sum()))
    return max(shares)


def methods(
    raw: list[Pixels], restored: list[Pixels], dry: list[Pixels], spent: dict[str, float]
) -> dict[str, dict[int, Pixels]]:
    """Return each method's results by number of frame."""
    begin, seen = time.process_time(), list[SeenFrame]()
    for pair in zip(raw, restored, strict=True):
        seen.append(see(*pair, seen[-1] if seen else None))
    spent["seen"] += (time.process_time() - begin) / len(raw)
    results: dict[str, dict[int, Pixels]] = defaultdict(dict)
    whole = range(CLIP_LOOKAHEAD, FRAMES - CLIP_LOOKAHEAD)
    begin = time.process_time()
    for number in whole:
        around = seen[number - CLIP_LOOKAHEAD : number + CLIP_LOOKAHEAD + 1]
        clip = fuse_frame(around, CLIP_LOOKAHEAD)
        if number in SHOWN:
            results["clip"][number] = restored[number] if clip is None else clip
    spent["fused"] += (time.process_time() - begin) / len(whole)
    for number in SHOWN:
        results["source"][number] = raw[number]
        results["at most"][number] = dry[number]
        results["single"][number] = restored[number]
        median = np.median(np.stack(restored[number - 2 : number + 3]), axis=0)
        results["median"][number] = median
        past = max(0, number - LONGEST + 1)
        stream = fuse_frame(seen[past : number + 1], number - past)
        results["stream"][number] = restored[number] if stream is None else stream
    return results


Scores = dict[str, list[dict[str, float]]]
"""Method -> means of each picture."""
COLUMNS = {"psnr": 2, "movers": 2, "ssim": 4, "temporal": 2, "flicker": 2, "ghost": 1}
"""What is measured -> decimal places."""


def make_clips(truth: Truth, weather: str, seed: int) -> tuple[list[Pixels], list[Pixels], Image]:
    """Return a clip in weather and without, after noise and H.264, and where none fell."""
    rng = np.random.default_rng([7, seed])
    scene = WEATHERS[weather].scene(truth.frames.shape[1:3], rng)
    wet = [scene(frame, n).degraded for n, frame in enumerate(truth.frames)]
    pairs = zip(wet, truth.frames, strict=True)
    quiet = np.stack([np.abs(a - b).max(axis=2) < 1 / 255 for a, b in pairs])
    coded = []
    for frames in (wet, truth.frames):
        noisy = [f * 255 + rng.normal(0, NOISE, f.shape) for f in frames]
        eight_bit = [np.clip(np.rint(f), 0, 255).astype(np.uint8) for f in noisy]
        coded.append(through_h264(eight_bit, CRF))
    return coded[0], coded[1], quiet


def print_methods(camera: str, weather: str, scores: Scores) -> None:
    """Print a line for each method."""
    for name, each in scores.items():
        cells = [f"{np.mean([s[c] for s in each]):.{d}f}" for c, d in COLUMNS.items()]
        print(f"| {camera} | {weather} | {name} |", " | ".join(cells), "|", flush=True)


def gains(camera: str, weather: str, scores: Scores) -> str:
    """Return a line of gains over the single frame."""

    def gain(name: str, column: str) -> str:
        pairs = zip(scores[name], scores["single"], strict=True)
        each = [one[column] - single[column] for one, single in pairs]
        error = 2 * np.std(each, ddof=1) / len(each) ** 0.5 if len(each) > 1 else 0.0
        return f"{np.mean(each):+.2f} ± {error:.2f}"

    def means(column: str, *names: str) -> str:
        digits = COLUMNS[column] - (column == "ssim")
        return ", ".join(f"{np.mean([s[column] for s in scores[n]]):.{digits}f}" for n in names)

    cells = [gain("at most", "psnr")]
    cells += [gain(name, column) for column in ("psnr", "movers") for name in ("clip", "stream")]
    cells += [means("ssim", "single", "clip"), means("flicker", "source", "single", "clip")]
    return f"| {camera} | {weather} | {' | '.join(cells)} |"


def read_stills(folders: list[Path], pictures: int) -> list[tuple[Image, Image]]:
    """Return photographs of each folder, lying, each with the next one, for cut-outs.

    They are every fifth of a folder, or the first ones where that has too few.
    """
    pairs = []
    for folder in folders:
        paths = list_pictures(folder)
        if len(paths) > 5 * pictures:
            paths = paths[4::5]
        images = [np.asarray(read_image(path)) for path in paths[: pictures + 1]]
        images = [s if s.shape[1] > s.shape[0] else s.transpose(1, 0, 2) for s in images]
        pairs += [
            (images[n], images[(n + 1) % len(images)]) for n in range(min(pictures, len(images)))
        ]
    return pairs


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clean", type=Path, nargs="+", help="folders of clean photographs")
    parser.add_argument("--weather", default="light-rain,snow,csd-rain")
    parser.add_argument("--cameras", default=",".join(CAMERAS))
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--pictures", type=int, default=3, help="of each folder")
    parser.add_argument("--size", default="256x384", help="rows x columns")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    restorer = cmudrn.load(options.model, threads=1)
    stills = read_stills(options.clean, options.pictures)
    print("| camera | weather | method |", " | ".join(COLUMNS), "|")
    print("|---|---|---|" + "---:|" * len(COLUMNS))
    spent: dict[str, float] = defaultdict(float)
    lines, clips = list[str](), 0
    for camera in options.cameras.split(","):
        for weather in options.weather.split(","):
            scores: Scores = defaultdict(list)
            for index, (still, other) in enumerate(stills):
                truth = make_truth(still, other, camera, (height, width), index)
                raw, dry, quiet = make_clips(truth, weather, index)
                begin = time.process_time()
                restored = [restorer(frame, dehaze=False) for frame in raw]
                spent["network"] += (time.process_time() - begin) / len(raw)
                clips += 1
                for name, results in methods(raw, restored, dry, spent).items():
                    frames = [measure(results, truth, quiet, number) for number in SHOWN]
                    scores[name].append({
                        c: float(np.nanmean([f[c] for f in frames if c in f])) for c in COLUMNS
                    })  # fmt: skip
            print_methods(camera, weather, scores)
            lines.append(gains(camera, weather, scores))
    print("\n| camera | weather | at most | clip | stream | cut-outs: clip | cut-outs: stream "
          "| SSIM, alone and clip | flicker: source, alone, clip |")  # fmt: skip
    print("|---|---|---:|---:|---:|---:|---:|---|---|", *lines, sep="\n")
    print({name: f"{1000 * value / clips:.0f} ms a frame" for name, value in spent.items()})


if __name__ == "__main__":
    main()
