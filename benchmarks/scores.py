"""Mean PSNR and SSIM of models on rendered weather and on published pairs.

python benchmarks/scores.py MODEL... --clean KODAK24 [--pairs RAIN100L ...] [--pictures N]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cmudrn.engines import open_engine
from cmudrn.image import read_image
from cmudrn.restore import Restorer
from cmudrn.weather.presets import WEATHERS

Picture = NDArray[np.float32]
SEED = 24


def rendered(clean: Path, weather: str, pictures: int) -> Iterator[tuple[Picture, Picture]]:
    """Yield (degraded, clean) float32 RGB pictures; "clear" has no weather."""
    for number, path in enumerate(sorted(clean.glob("*.png"))[:pictures]):
        picture = read_image(path)
        if weather == "clear":
            yield picture, picture
        else:
            rng = np.random.default_rng([SEED, number])
            yield WEATHERS[weather](picture, rng).degraded, picture


def published(folder: Path, pictures: int) -> Iterator[tuple[Picture, Picture]]:
    """Yield (degraded, clean) of a folder with `input` and `target`, matched in sorted order."""
    inputs, targets = (sorted((folder / part).iterdir()) for part in ("input", "target"))
    if len(inputs) != len(targets):
        raise SystemExit(f"{folder} has {len(inputs)} inputs and {len(targets)} targets.")
    for source, target in list(zip(inputs, targets, strict=True))[:pictures]:
        yield read_image(source), read_image(target)


def score(output: Picture, clean: Picture) -> tuple[float, float]:
    """Return (PSNR in dB of the 8-bit picture, SSIM with the 11-pixel Gaussian), RGB, peak 1."""
    rounded = np.rint(np.clip(output, 0, 1) * 255) / 255
    if np.array_equal(rounded, clean):
        return 100.0, 1.0
    ssim = structural_similarity(
        clean, rounded, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    return peak_signal_noise_ratio(clean, rounded, data_range=1), ssim


def main() -> None:
    """Print one Markdown row for each set and each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--clean", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--pictures", type=int, default=24)
    options = parser.parse_args()
    restorers = {name: Restorer(open_engine(name, "onnx")) for name in options.models}
    sets = {name: rendered(options.clean, name, options.pictures)
            for name in ("clear", "csd-rain", "light-rain", "snow", "csd-snow")}  # fmt: skip
    sets |= {folder.name: published(folder, options.pictures) for folder in options.pairs}
    print("| set | pictures | model | PSNR in | PSNR out | SSIM in | SSIM out |")
    print("|---|---|---|---|---|---|---|")
    for name, pairs in sets.items():
        rows: dict[str, list[tuple[float, ...]]] = {model: [] for model in restorers}
        for degraded, clean in pairs:
            before = score(degraded, clean)
            for model, restorer in restorers.items():
                rows[model].append((*before, *score(restorer(degraded), clean)))
        for model, values in rows.items():
            psnr_in, ssim_in, psnr, ssim = np.mean(values, 0)
            print(
                f"| {name} | {len(values)} | {Path(model).stem} | {psnr_in:.2f} | {psnr:.2f} "
                f"| {ssim_in:.4f} | {ssim:.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
