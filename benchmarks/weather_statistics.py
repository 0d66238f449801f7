"""Compare rendered rain with the published screens, and rendered snow with CSD's example.

    python benchmarks/weather_statistics.py rain KODAK24 SCREENS [FIGURE]
    python benchmarks/weather_statistics.py snow KODAK24 TRIPLE

SCREENS holds the published `<n>-<k>.png`. TRIPLE is CSD's example figure: snowy image, mask and
ground truth side by side. Prints Markdown tables for docs/weather.md. The presets are measured on
every image of Kodak24 with SEEDS seeds. The figure shows distributions only, because the published
screens have no licence that allows showing them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cmudrn.evaluation.metrics import psnr_rgb, ssim_rgb
from cmudrn.evaluation.table import FORMATS
from cmudrn.files import list_folder
from cmudrn.image import read_image
from cmudrn.weather import WEATHERS
from cmudrn.weather.layered_rain import PAPER_LAYERS, SCREEN, render_screens
from cmudrn.weather.published import PAPER_FILTERS, PublishedRain, list_screens, read_layer
from cmudrn.weather.weather import Weather

Floats = NDArray[np.float32]

SEEDS = 3
COVERED = 0.1
"""A pixel is covered where rain adds, or snow hides, this share of the range."""
SCREENS = 30
"""Of each layer that are compared."""
POINTS = 300
"""Points of streaks that are measured in each picture."""
CONTRAST = 0.03
"""By which a streak's point exceeds the median around it."""
AROUND, STRIDE = 32, 4
"""Side of the square of that median, and the distance of the pixels it is taken of."""
REACH = 80
"""How far a streak is followed each way, pixels."""


@dataclass(frozen=True)
class Streaks:
    """What was measured in a picture of streaks; lists have one number for each point.

    Attributes:
        brightness: mean over the picture, 0 to 255.
        coverage: share of pixels covered.
        length: full length at half height, pixels.
        width: full width at half height, pixels.
        tilt: from the vertical, degrees.
    """

    brightness: float
    coverage: float
    length: Floats
    width: Floats
    tilt: Floats


def measure(light: Floats, rng: np.random.Generator) -> Streaks:
    """Measure the (H, W) light that rain adds, in [0, 1].

    At random ridge points the structure tensor gives the direction; from there the streak ends
    where it falls to half of the point's height above the median around it.
    """
    ground = median_around(light)
    smooth = ndimage.gaussian_filter(light, 1)
    dy, dx = (ndimage.gaussian_filter(light, 1, order=o) for o in ((1, 0), (0, 1)))
    yy, xx, xy = (ndimage.gaussian_filter(p, 2) for p in (dy * dy, dx * dx, dx * dy))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)  # direction of the strongest change
    ridge = (smooth == ndimage.maximum_filter(smooth, (1, 5))) & (light - ground > CONTRAST)
    ys, xs = np.nonzero(ridge)
    chosen = rng.permutation(len(ys))[:POINTS]
    ys, xs = ys[chosen], xs[chosen]
    angles = across[ys, xs]
    level = (light[ys, xs] + ground[ys, xs]) / 2
    width = extent(light, ys, xs, angles, level)
    length = extent(light, ys, xs, angles + np.pi / 2, level)
    tilt = np.degrees((angles + np.pi / 2) % np.pi - np.pi / 2)
    covered = float((light > COVERED).mean())
    return Streaks(255 * float(light.mean()), covered, length, width, tilt.astype(np.float32))


def median_around(light: Floats) -> Floats:
    """Return the median of the square round each pixel, of every STRIDE-th row and column."""
    coarse = ndimage.median_filter(light[::STRIDE, ::STRIDE], AROUND // STRIDE)
    whole: Floats = coarse.repeat(STRIDE, 0).repeat(STRIDE, 1)[: light.shape[0], : light.shape[1]]
    return whole


def extent(
    light: Floats, ys: NDArray[np.int64], xs: NDArray[np.int64], angles: Floats, level: Floats
) -> Floats:
    """Return how far light stays above level, both ways from each point along its angle."""
    steps = np.arange(0, REACH, 0.25)
    total = np.zeros(len(ys), np.float32)
    for sign in (-1, 1):
        along = sign * steps[:, None]
        places = np.stack([ys + along * np.sin(angles), xs + along * np.cos(angles)])
        seen = ndimage.map_coordinates(light, places, order=1, mode="nearest")
        total += np.where(seen < level, steps[:, None], REACH).min(0)
    return total


def rows_of(ours: Sequence[Streaks], theirs: Sequence[Streaks]) -> Iterator[list[str]]:
    """Yield name, ours, published and the difference of every statistic."""
    statistics: dict[str, Callable[[Sequence[Streaks]], float]] = {
        "mean added brightness (of 255)": lambda s: float(np.mean([x.brightness for x in s])),
        f"coverage (more than {COVERED:g} added)": lambda s: float(
            np.mean([x.coverage for x in s])
        ),
        "median length, px": lambda s: float(np.median(np.concatenate([x.length for x in s]))),
        "median width, px": lambda s: float(np.median(np.concatenate([x.width for x in s]))),
    }
    for name, statistic in statistics.items():
        mine, published = statistic(ours), statistic(theirs)
        change = f"{100 * (mine / published - 1):+.0f} %"
        yield [name, f"{mine:.3g}", f"{published:.3g}", change]
    mine, published = (
        float(np.median(np.abs(np.concatenate([x.tilt for x in s])))) for s in (ours, theirs)
    )
    yield [
        "median tilt either way, deg",
        f"{mine:.1f}",
        f"{published:.1f}",
        f"{mine - published:+.1f}",
    ]


def preset_on(
    weather: Weather, pictures: Sequence[Path]
) -> tuple[list[Streaks], list[float], list[float]]:
    """Return what a rain adds to every picture, and the PSNR and SSIM of the rainy pictures."""
    streaks, psnr, ssim = [], [], []
    for number, path in enumerate(pictures):
        clean = read_image(path)
        for seed in range(SEEDS):
            made = weather(clean, np.random.default_rng([seed, number]))
            streaks.append(measure(made.layers["streaks"], np.random.default_rng(number)))
            psnr.append(psnr_rgb(made.degraded, clean))
            ssim.append(ssim_rgb(made.degraded, clean))
    return streaks, psnr, ssim


def compare_rain(kodak: Path, screens: Path, figure: Path | None) -> None:
    pictures = list_pictures(kodak)
    mine = preset_on(WEATHERS["csd-rain"], pictures)
    paths = list_screens(screens)
    theirs = preset_on(PublishedRain(paths=paths), pictures)
    print(f"`csd-rain` on {len(pictures)} pictures\n")
    rows = [["", "ours", "published screens", "difference"], *rows_of(mine[0], theirs[0])]
    for name, unit, column in (("input PSNR, dB", ".2f", 1), ("input SSIM", ".3f", 2)):
        a, b = (float(np.mean(x[column])) for x in (mine, theirs))
        rows.append([name, format(a, unit), format(b, unit), format(a - b, "+" + unit)])
    print(FORMATS["markdown"](rows))
    print(f"Screens of each layer, {SCREENS} of ours / {SCREENS} of the published ones, filtered\n")
    head = ["layer", "brightness", "coverage", "length", "width", "tilt"]
    print(FORMATS["markdown"]([head, *compare_layers(paths)]))
    if figure is not None:
        draw(mine[0], theirs[0], figure)


def compare_layers(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Yield a row for each layer: our screens beside what the generator keeps of published ones."""
    rng = np.random.default_rng(0)
    for (name, _), step in zip(PAPER_LAYERS.items(), PAPER_FILTERS, strict=True):
        own = render_screens(name, 0, SCREENS).pixels
        chosen = [paths[i] for i in rng.permutation(len(paths))[:SCREENS]]
        kept = [read_layer(path, step, None if step.scale else SCREEN) for path in chosen]
        ours, theirs = (
            [measure(pixels.astype(np.float32) / 255, rng) for pixels in screens]
            for screens in (own, kept)
        )
        yield [name, *(f"{row[1]} / {row[2]}" for row in rows_of(ours, theirs))]


def draw(ours: Sequence[Streaks], theirs: Sequence[Streaks], path: Path) -> None:
    """Draw the distributions of all that was measured; published pictures are not shown."""
    from matplotlib.figure import Figure

    plots: list[tuple[str, Callable[[Streaks], Sequence[float] | Floats]]] = [
        ("mean added brightness of a picture", lambda s: [s.brightness]),
        ("coverage of a picture", lambda s: [s.coverage]),
        ("length of streaks, px", lambda s: s.length),
        ("width of streaks, px", lambda s: s.width),
        ("tilt of streaks, degrees", lambda s: s.tilt),
    ]
    sheet = Figure((15, 2.8), dpi=110, layout="constrained")
    for axes, (title, numbers) in zip(sheet.subplots(1, len(plots)), plots, strict=True):
        values = [np.concatenate([np.asarray(numbers(s)) for s in side]) for side in (ours, theirs)]
        count = int(np.clip(len(values[0]) / 3, 8, 30))
        bins = np.linspace(*np.percentile(np.concatenate(values), [0, 99]), count)
        for value, label in zip(values, ("ours", "published"), strict=True):
            axes.hist(value, bins, density=True, histtype="step", linewidth=1.5, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_yticks([])
    sheet.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    sheet.savefig(path, metadata={"Software": None})


@dataclass(frozen=True)
class Snowfall:
    """What was measured in a snow mask and its picture."""

    mean_opacity: float
    coverage: float
    flakes: float
    diameter: float
    large: float
    transmission: float
    airlight: float
    psnr: float


NAMES = {
    "mean_opacity": "mean opacity of the mask",
    "coverage": f"coverage (opacity over {COVERED:g})",
    "flakes": "flakes in 10,000 px",
    "diameter": "median diameter, px",
    "large": "share of the mask's light in flakes over 10 px",
    "transmission": "mean transmission of the veil",
    "airlight": "mean airlight",
    "psnr": "PSNR of the snowy picture, dB",
}


def measure_snow(snowy: Floats, mask: Floats, clean: Floats) -> Snowfall:
    """Measure a triple: (H, W, 3) snowy and clean, (H, W) mask, all in [0, 1].

    The veil is the least-squares fit of snowy = t x + (1 - t) A with one t and one grey A, x the
    clean picture under its flakes.
    """
    labels, count = ndimage.label(mask > COVERED)
    areas = np.bincount(labels.ravel())[1:]
    diameters = 2 * np.sqrt(areas / np.pi)
    light = ndimage.sum_labels(mask, labels, np.arange(1, count + 1))
    free = mask < 0.02
    x, y = clean[free].ravel(), snowy[free].ravel()
    slope, offset = np.polyfit(x, y, 1)
    return Snowfall(
        float(mask.mean()),
        float((mask > COVERED).mean()),
        1e4 * count / mask.size,
        float(np.median(diameters)),
        float(light[diameters > 10].sum() / light.sum()),
        float(slope),
        float(offset / (1 - slope)),
        psnr_rgb(snowy, clean),
    )


def compare_snow(kodak: Path, triple: Path) -> None:
    snowy, mask, clean = split_triple(read_image(triple))
    theirs = measure_snow(snowy, mask.mean(-1), clean)
    shape = mask.shape[:2]
    ours = []
    for number, path in enumerate(list_pictures(kodak)):
        whole = read_image(path)
        zoom = max(s / w for s, w in zip(shape, whole.shape, strict=False))
        reduced = ndimage.zoom(whole, (zoom, zoom, 1), order=1)[: shape[0], : shape[1]]
        for seed in range(SEEDS):
            made = WEATHERS["csd-snow"](reduced, np.random.default_rng([seed, number]))
            ours.append(measure_snow(made.degraded, made.layers["mask"], reduced))
    print(f"`csd-snow` on {len(ours)} pictures of {shape[1]} x {shape[0]}\n")
    rows = [["", "CSD's example", "ours, median", "ours, 5 to 95 %"]]
    for field, name in NAMES.items():
        low, middle, high = np.percentile([getattr(s, field) for s in ours], [5, 50, 95])
        rows.append(
            [name, f"{getattr(theirs, field):.3g}", f"{middle:.3g}", f"{low:.3g} to {high:.3g}"]
        )
    print(FORMATS["markdown"](rows))


def split_triple(sheet: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the three pictures of CSD's example figure, found by the mask's black rectangle."""
    dark = (sheet.max(-1) < 0.35) & (np.arange(len(sheet)) < 0.9 * len(sheet))[:, None]
    middle = sheet.shape[1] // 3, 2 * sheet.shape[1] // 3
    columns = middle[0] + np.flatnonzero(dark[:, middle[0] : middle[1]].mean(0) > 0.5)
    rows = np.flatnonzero(dark[:, columns[0] : columns[-1]].mean(1) > 0.5)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = bottom - top, right - left
    inside = slice(top + 3, bottom - 3)
    mask = sheet[inside, left + 3 : right - 3]
    far = sheet.shape[1] - width
    snowy = sheet[inside, 3 : width - 3]
    clean = sheet[inside, far + 3 : far + width - 3]
    assert height > 200 and snowy.shape == mask.shape == clean.shape
    return snowy, mask, clean


def list_pictures(folder: Path) -> list[Path]:
    return list(list_folder(folder, below=False, follow_links=True).images)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["rain", "snow"])
    parser.add_argument("kodak", type=Path, help="folder of Kodak24")
    parser.add_argument("published", type=Path, help="SCREENS for rain, TRIPLE for snow")
    parser.add_argument("figure", nargs="?", type=Path, help="to draw, for rain")
    options = parser.parse_args()
    if options.kind == "rain":
        compare_rain(options.kodak, options.published, options.figure)
    elif options.figure is not None:
        parser.error("snow has no figure")
    else:
        compare_snow(options.kodak, options.published)
