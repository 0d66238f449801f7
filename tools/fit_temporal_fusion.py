"""Fits the two perceptrons that fuse frames over time, and writes them where they ship.

    python tools/fit_temporal_fusion.py CLEAN... --sequences runs/sequences

CLEAN are folders of photographs. Short clips of them are rendered, with a camera that stands, pans,
zooms or shakes, objects cut out of other photographs that move across, rain or snow, noise and
H.264, and restored frame by frame; they are kept in the folder of sequences, so a run that was
stopped goes on. A third of the clips is restored in part only, for networks that leave more.

The loss is the squared error of the fused frame and of its differences from pixel to pixel, over
that of the restored frame alone, per clip and region, so that each clip counts by its gain in dB.
Where an object or what it uncovers becomes worse than its restored frame, what it loses counts HARM
times more: a ghost is seen sooner than a shade. A small object that moves cannot be told from a
flake of snow, and counts as the background does.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label, map_coordinates

import cmudrn
from cmudrn.image import Image, Pixels, read_image
from cmudrn.restoration import Restorer
from cmudrn.restoration.frame_window import SeenFrame, aligned, see, shows_scene
from cmudrn.restoration.squares import SQUARE, differences
from cmudrn.restoration.temporal_fusion import (
    FEATURES,
    FRAMES,
    MAX_VALUE,
    SHIFT,
    UNIT,
    Aligned,
    candidates,
    features,
)
from cmudrn.weather.presets import WEATHERS

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.clips import through_h264

SIZE, LENGTH = (160, 224), 9
"""Pixels and frames of a clip."""
WEATHER = (*WEATHERS, "light-rain", "snow", "clear")
OFTEN = ("light-rain", "snow", "csd-rain", "light-snow", "csd-snow", "snow-mixture", "snow")
ALL = 124
"""Clips of every weather, with all cameras; those after them are of frequent weathers."""
CAMERAS = ("static", "static", "pan", "zoom", "shake")
OBJECT, NEAR, BACKGROUND = range(3)
"""Regions: where an object is, where one is in another frame, and the rest."""
SHARES = {OBJECT: (700, 2.0), NEAR: (500, 1.0), BACKGROUND: (700, 1.0)}
"""Region -> squares taken of each clip at most, and the weight of its error."""
HARM = (12.0, 2.0, 0.0)
"""How often a loss against the restored frame counts, on top of the error, in each region. Less
takes more snow away and more of what moves: see docs/video.md."""
CAUTION = 0.3
"""Added to the logarithm of the restored frame's share, after the fit."""
LARGE = 300
"""Pixels of a large object."""
BATCH = 8192
"""Squares of a step."""
TARGET = Path(__file__).parent.parent / "src/cmudrn/restoration/temporal_fusion.npz"


@dataclass(frozen=True)
class Moving:
    """An object that moves through a clip: opacity (h, w, 1), image (h, w, 3), path in pixels.

    The path is straight or bent, up to the frame in which the object stops, or from it on.
    """

    opacity: Image
    image: Image
    start: NDArray[np.float64]
    speed: NDArray[np.float64]
    bend: NDArray[np.float64]
    moves: tuple[int, int]

    def draw(self, frame: Image, number: int) -> NDArray[np.bool_]:
        """Draw the object into a frame and return where it is."""
        mask = np.zeros(frame.shape[:2], bool)
        time = float(np.clip(number, *self.moves)) - LENGTH // 2
        top, left = np.rint(self.start + self.speed * time + self.bend * time**2).astype(int)
        height, width = self.opacity.shape[:2]
        rows = slice(max(0, top), min(frame.shape[0], top + height))
        columns = slice(max(0, left), min(frame.shape[1], left + width))
        if rows.start < rows.stop and columns.start < columns.stop:
            own = (slice(rows.start - top, rows.stop - top),
                   slice(columns.start - left, columns.stop - left))  # fmt: skip
            opacity = self.opacity[own]
            frame[rows, columns] += opacity * (self.image[own] - frame[rows, columns])
            mask[rows, columns] = opacity[..., 0] > 0.1
        return mask


def draw_object(other: Image, rng: np.random.Generator) -> Moving:
    """Return an object of random shape, surface, place and speed."""
    area, aspect = np.exp(rng.uniform(np.log(8), np.log(90))), np.sqrt(rng.uniform(0.5, 2))
    height, width = max(5, int(area * aspect)), max(5, int(area / aspect))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    lobes = 0.7 + 0.25 * np.cos(rng.integers(2, 6) * np.arctan2(y, x) + rng.uniform(0, 6))
    round_, square = x**2 + y**2 < 1, (abs(x) < 0.9) & (abs(y) < 0.9)
    shape = (round_, square, x**2 + y**2 < lobes**2)[rng.integers(3)]
    opacity = gaussian_filter(shape.astype(np.float32), rng.uniform(0.3, 0.9))[..., None]
    top, left = (
        rng.integers(max(1, s - h)) for s, h in zip(other.shape, shape.shape, strict=False)
    )
    image = np.resize(other[top : top + height, left : left + width], (height, width, 3))
    kind = rng.random()
    if kind < 0.2:
        image = image * 0.3
    elif kind < 0.4:
        image = 1 - (1 - image) * 0.35
    elif kind < 0.6:
        image = np.ones_like(image) * rng.uniform(0, 1, 1 if kind < 0.5 else 3)
    speed = 0.0 if rng.random() < 0.08 else np.exp(rng.uniform(np.log(0.4), np.log(30)))
    angle = rng.uniform(0, 2 * np.pi)
    start = rng.uniform(0, 1, 2) * np.maximum(1, np.subtract(SIZE, shape.shape))
    direction = np.array([np.sin(angle), np.cos(angle)])
    bend = rng.normal(0, 0.05 * speed, 2) if rng.random() < 0.3 else np.zeros(2)
    moves, when = (0, LENGTH), int(rng.integers(1, LENGTH))
    if rng.random() < 0.2:
        moves = (0, when) if rng.random() < 0.5 else (when, LENGTH)
    return Moving(opacity, image.astype(np.float32), start, speed * direction, bend, moves)


def see_through(still: Image, camera: str, rng: np.random.Generator) -> list[Image]:
    """Return what a camera sees of a photograph, frame by frame."""
    margin = np.subtract(still.shape[:2], SIZE) / 2
    corner = np.floor(margin * rng.uniform(0.4, 1.6, 2))
    speed, zoom = rng.normal(0, 2.5, 2), rng.normal(0, 0.005)
    frames = []
    for number in range(LENGTH):
        at, scale = corner, 1.0
        if camera == "pan":
            at = corner + speed * number
        elif camera == "zoom":
            scale = 1 + zoom * number
        elif camera == "shake":
            at = corner + rng.normal(0, 1.6, 2)
        axes = [a + (np.arange(n) - n / 2) * scale + n / 2 for a, n in zip(at, SIZE, strict=True)]
        grid = np.meshgrid(*axes, indexing="ij")
        order = 1 if camera == "static" else 3
        planes = [
            map_coordinates(still[..., c], grid, order=order, mode="reflect") for c in range(3)
        ]
        frames.append(np.stack(planes, -1).clip(0, 1).astype(np.float32))
    return frames


def make_sequence(stills: list[Path], restorer: Restorer, seed: int) -> dict[str, Pixels]:
    """Return a clip: "clean", "raw" and "restored" frames, and "objects", where objects are."""
    rng = np.random.default_rng([11, seed])
    still, other = (read_image(stills[rng.integers(len(stills))]) for _ in "ab")
    frames = see_through(np.asarray(still), CAMERAS[rng.integers(len(CAMERAS))], rng)
    objects = [draw_object(np.asarray(other), rng) for _ in range(rng.integers(1, 5))]
    kinds = WEATHER if seed < ALL else OFTEN
    weather = kinds[rng.integers(len(kinds))]
    scene = WEATHERS[weather].scene(SIZE, rng) if weather != "clear" else None
    exposure = rng.normal(1, 0.02, LENGTH) if rng.random() < 0.1 else np.ones(LENGTH)
    noise, crf = rng.choice([0, 1, 2, 2, 3]), int(rng.integers(14, 29))
    clean, raw, masks = [], [], []
    for number, frame in enumerate(frames):
        masks.append(np.logical_or.reduce([each.draw(frame, number) for each in objects]))
        frame = np.clip(frame * exposure[number], 0, 1).astype(np.float32)
        clean.append(np.rint(frame * 255).astype(np.uint8))
        seen = scene(frame, number).degraded if scene else frame
        noisy = seen * 255 + noise * rng.normal(0, 1, seen.shape)
        raw.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    raw = through_h264(raw, crf)
    restored = np.stack([restorer(frame, dehaze=False) for frame in raw])
    if rng.random() < 0.3:
        part = raw + rng.uniform(0, 0.8) * (restored.astype(np.float32) - raw)
        restored = np.clip(np.rint(part), 0, 255).astype(np.uint8)
    return {
        "clean": np.stack(clean),
        "raw": np.stack(raw),
        "restored": restored,
        "objects": np.stack(masks),
    }


def samples(clip: dict[str, Pixels], seed: int) -> list[dict[str, NDArray[np.generic]]]:
    """Return squares of a clip as samples: of short windows, and of long ones."""
    rng, seen = np.random.default_rng([12, seed]), list[SeenFrame]()
    for pair in zip(clip["raw"], clip["restored"], strict=True):
        seen.append(see(*pair, seen[-1] if seen else None))
    # The frame that is fused is in the middle, the last, or anywhere.
    short, some = (2, 4, int(rng.integers(4))), int(rng.integers(LENGTH - FRAMES + 1))
    spans = [(some, some + FRAMES, some + place) for place in short]
    spans += [(0, LENGTH, place) for place in (LENGTH // 2, LENGTH - 1, int(rng.integers(LENGTH)))]
    result = []
    for first, last, current in spans:
        if rng.random() < 0.2:  # some frames are missing
            first, last = (
                int(rng.integers(first, current + 1)),
                int(rng.integers(current, last)) + 1,
            )
        windows = aligned(seen[first:last], current - first)
        if windows and (windows[-1].merged or last - first <= FRAMES):
            raw = shows_scene(seen[current])
            result.append(_samples(windows[-1], raw, clip, slice(first, last), current, rng))
    return result


def _samples(
    window: Aligned,
    takes_raw: bool,
    clip: dict[str, Pixels],
    span: slice,
    number: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.generic]]:
    objects = clip["objects"]
    both = (objects[number], np.asarray(objects[span].any(axis=0)))
    own, any_ = (_squares(mask[None]).any(axis=1) for mask in both)
    region = np.where(own, OBJECT, np.where(any_, NEAR, BACKGROUND))
    apart = differences(window.planes, 0)
    seen = features(window.means, apart, 0, takes_raw=takes_raw)
    seen = seen.reshape(len(seen), -1).T
    images = candidates(window.planes, 0, takes_raw=takes_raw)
    choice = np.stack([_squares(image) for image in images], axis=1)
    truth = _squares(clip["clean"][number].transpose(2, 0, 1))
    at = np.concatenate([
        rng.permutation(np.flatnonzero(region == r))[:most] for r, (most, _) in SHARES.items()
    ])  # fmt: skip
    errors = quadratic(choice[at].astype(np.float32) - truth[at, None].astype(np.float32))
    return {
        "seen": seen[at],
        "errors": errors,
        "region": region[at],
        "is_large": large_squares(objects[number])[at],
        "merged": np.full(len(at), window.merged),
    }


def large_squares(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each square whether a large object is in it."""
    objects, _ = label(mask)
    pixels = np.bincount(objects.ravel())
    pixels[0] = 0
    large: NDArray[np.bool_] = _squares((pixels >= LARGE)[objects][None]).any(axis=1)
    return large


def quadratic(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, candidates, candidates): w E w is the visible error of candidates weighed by w.

    Args:
        difference: of each candidate from the truth, (N, candidates, values of a square).
    """
    squares = difference.reshape(*difference.shape[:2], -1, SQUARE, SQUARE)
    level = squares.reshape(difference.shape) * np.float32(np.sqrt(1.5 / difference.shape[2]))
    parts = [level]
    for axis in (3, 4):
        steps = np.diff(squares, axis=axis).reshape(*difference.shape[:2], -1)
        parts.append(steps / np.float32(np.sqrt(steps.shape[2])))
    seen = np.concatenate(parts, axis=2)
    errors: NDArray[np.float32] = seen @ seen.transpose(0, 2, 1)
    return errors


def _squares(planes: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return (squares, values) of (C, H, W)."""
    count, height, width = planes.shape
    parts = planes.reshape(count, height // SQUARE, SQUARE, width // SQUARE, SQUARE)
    return parts.transpose(1, 3, 0, 2, 4).reshape(-1, count * SQUARE**2)


class Fit:
    """A perceptron and its samples."""

    def __init__(self, rows: list[dict[str, NDArray[np.generic]]], hidden: Sequence[int]) -> None:
        torch.manual_seed(0)
        joined = {k: torch.from_numpy(np.concatenate([r[k] for r in rows])) for k in rows[0]}
        self._seen, self._quadratic = joined["seen"], joined["errors"].float()
        region, is_large = joined["region"], joined["is_large"]
        clip = torch.repeat_interleave(
            torch.arange(len(rows)), torch.tensor([len(r["seen"]) for r in rows])
        )
        self._group = clip * len(SHARES) + region
        self._base = torch.tensor([weight for _, weight in SHARES.values()])[region]
        self._harm = torch.tensor(HARM)[region]
        small = (region == OBJECT) & ~is_large
        self._base[small], self._harm[small] = SHARES[BACKGROUND][1], HARM[BACKGROUND]
        self._single = self._quadratic[:, 0, 0]
        self._alone = self._means(self._single)
        sizes = (FEATURES, *hidden, self._quadratic.shape[1])
        self.layers = [torch.nn.Linear(*pair) for pair in itertools.pairwise(sizes)]

    def run(self, steps: int) -> None:
        """Descend; weights follow the error that is left, so that the loss is one of dB."""
        optimiser = torch.optim.Adam([one for each in self.layers for one in each.parameters()])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
        weight, rng = self._base / (self._alone + 1), torch.Generator().manual_seed(1)
        for step in range(steps):
            if step in (steps // 4, steps // 2, 3 * steps // 4):
                weight = self._base / (self._means(self._errors()) + 1)
                print(step, self.report(), flush=True)
            at = torch.randint(len(self._seen), (BATCH,), generator=rng)
            error = self._error(at)
            lost = torch.relu(error - self._single[at])
            loss = ((error + self._harm[at] * lost) * weight[at]).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()

    def report(self) -> str:
        """Return the mean gain over the restored frame of each region, dB."""
        left = self._means(self._errors())
        gain = 10 * torch.log10((self._alone + 0.3) / (left + 0.3))
        regions = self._group % len(SHARES)
        names = zip(("objects", "near", "background"), SHARES, strict=True)
        return ", ".join(f"{name} {gain[regions == r].mean():.2f} dB" for name, r in names)

    def _error(self, at: torch.Tensor | slice) -> torch.Tensor:
        values = self._seen[at].float() / UNIT
        for layer in self.layers[:-1]:
            values = layer(values).clamp(0, MAX_VALUE / UNIT)
        weights = torch.softmax(self.layers[-1](values), dim=1)
        return (torch.bmm(self._quadratic[at], weights[:, :, None])[:, :, 0] * weights).sum(dim=1)

    @torch.no_grad()
    def _errors(self) -> torch.Tensor:
        starts = range(0, len(self._seen), 1 << 16)
        return torch.cat([self._error(slice(start, start + (1 << 16))) for start in starts])

    def _means(self, errors: torch.Tensor) -> torch.Tensor:
        """Return for each sample the mean error of its clip and region."""
        count = int(self._group.max()) + 1
        total = torch.zeros(count).index_add_(0, self._group, errors)
        number = torch.zeros(count).index_add_(0, self._group, torch.ones_like(errors))
        return (total / number.clamp(min=1))[self._group]

    def arrays(self, kind: str) -> dict[str, NDArray[np.generic]]:
        """Return the perceptron in whole numbers, as `temporal_fusion.Layer` has them."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for number, layer in enumerate(self.layers):
            most = 2**15 - 1 if number == 0 else 2**12  # so that no sum passes 31 bits
            weights = torch.round(layer.weight.detach() * 2**SHIFT).clamp(-most, most)
            biases = torch.round(layer.bias.detach() * UNIT * 2**SHIFT)
            if number == len(self.layers) - 1:
                biases[0] += round(CAUTION * UNIT * 2**SHIFT)
            arrays[f"{kind}weights{number}"] = weights.numpy().astype(np.int16)
            arrays[f"{kind}biases{number}"] = biases.numpy().astype(np.int32)
        return arrays


def main() -> None:
    """Render what is missing, fit, and write the perceptron."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clean", type=Path, nargs="+", help="folders of photographs")
    parser.add_argument("--sequences", type=Path, default=Path("runs/sequences"))
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 32])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.sequences.mkdir(parents=True, exist_ok=True)
    stills = [path for folder in options.clean for path in sorted(folder.rglob("*.jpg"))]
    restorer, rows = cmudrn.load(options.model, threads=1), []
    for seed in range(options.count):
        path = options.sequences / f"{seed:04d}.npz"
        if not path.exists():
            np.savez(path, **make_sequence(stills, restorer, seed))
        rows += samples(dict(np.load(path)), seed)
    arrays: dict[str, NDArray[np.generic]] = {}
    for kind, merged in (("", False), ("merged_", True)):
        fit = Fit([row for row in rows if row["merged"][0] == merged], options.hidden)
        fit.run(options.steps)
        print(kind, fit.report())
        arrays |= fit.arrays(kind)
    np.savez(options.target, **arrays)


if __name__ == "__main__":
    main()
