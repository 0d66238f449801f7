"""`cmudrn sheet`: the paper's Figure 3 for any model and pictures."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmudrn.cli.application import app
from cmudrn.cli.evaluate import need_metrics, open_model, open_sets, split_name
from cmudrn.errors import CmudrnError, InvalidSettingError

if TYPE_CHECKING:
    from cmudrn.datasets import Dataset, Pair
    from cmudrn.image import Image

KINDS = {".png": "png", ".pdf": "pdf", ".svg": "svg"}


Models = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]MODEL",
        help="Shipped name, .onnx file, checkpoint, run folder or .pth.",
    ),
]
Output = Annotated[Path, typer.Argument(help="The .png, .pdf or .svg file to write.")]
Datasets = Annotated[
    list[str] | None, typer.Option(metavar="DATASET", help="KIND:PATH[@PART]; repeatable.")
]
Weather = Annotated[str, typer.Option(help="For folders of clean pictures: lay this over them.")]
Photos = Annotated[
    list[Path] | None,
    typer.Option(help="Photograph, or folder of them, without a clean one; repeatable."),
]
PairNames = Annotated[
    str, typer.Option(help="Names of the pairs, with commas; by default the first three.")
]
Crop = Annotated[str, typer.Option(help="Show LEFT,TOP,WIDTH,HEIGHT only, pixels.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the weather.")]
Threads = Annotated[
    int | None, typer.Option(help="Processor threads. Without it one for each core.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a sheet that exists.")]


@app.command()
def sheet(
    models: Models,
    output: Output,
    data: Datasets = None,
    weather: Weather = "",
    photos: Photos = None,
    pictures: PairNames = "",
    crop: Crop = "",
    seed: Seed = 24,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Lay degraded, clean, restored and removed side by side, with their scores.

    One model's branches follow; several models stand beside one another.
    """
    need_metrics()
    from cmudrn.evaluation.comparison_figure import draw_sheet, make_row
    from cmudrn.files import atomic_file, check_target
    from cmudrn.image import read_image
    from cmudrn.restoration import Restorer

    if output.suffix.lower() not in KINDS:
        raise InvalidSettingError(f"A sheet is a {', '.join(KINDS)} file, not {output.name}.")
    window = _window(crop)
    if not data and not photos:
        raise InvalidSettingError("Say what to show: --data KIND:PATH, or --photos FOLDER.")
    sets = open_sets(data, weather, seed) if data else {}
    names = [name.strip() for name in pictures.split(",") if name.strip()]
    paths = [path for place in photos or [] for path in _photos(place)]
    for path in paths:
        check_target(path, output, overwrite=True)  # a photograph is never replaced
    check_target(None, output, overwrite)
    named = [split_name(text) for text in models]
    for name, count in Counter(name for name, _ in named).items():
        if count > 1:
            raise InvalidSettingError(f"{count} models would be called {name!r}.")
    restorers = {name: Restorer(open_model(text, threads)) for name, text in named}
    rows = [
        (f"{title}\n{pair.name}", make_row(pair.degraded, restorers, pair.clean, window))
        for title, dataset in sets.items()
        for pair in _chosen(title, dataset, names, window)
    ]
    for path in paths:
        photo = read_image(path)
        _check_window(window, photo, path.name)
        rows.append((path.name, make_row(photo, restorers, None, window)))
    drawn = draw_sheet(rows, KINDS[output.suffix.lower()])
    with atomic_file(output, like=paths) as file:
        file.write(drawn)


def _photos(place: Path) -> list[Path]:
    """Return a photograph, or those in a folder and its subfolders, sorted by path.

    Raises:
        CmudrnError: there are none.
    """
    from cmudrn.files import list_folder

    if place.is_file():
        return [place]
    found = list(list_folder(place).images)
    if not found:
        raise CmudrnError(f"There are no pictures in {place}.")
    return found


def _window(text: str) -> tuple[slice, slice] | None:
    if not text:
        return None
    if not re.fullmatch(r"\d+(,\d+){3}", text):
        raise InvalidSettingError(f"A crop is written LEFT,TOP,WIDTH,HEIGHT, not {text!r}.")
    left, top, width, height = map(int, text.split(","))
    if not width or not height:
        raise InvalidSettingError("A crop has a width and a height of at least 1.")
    return slice(top, top + height), slice(left, left + width)


def _chosen(
    title: str, dataset: Dataset, names: list[str], window: tuple[slice, slice] | None
) -> list[Pair]:
    """Return the pairs of these names, or the first three.

    Raises:
        CmudrnError: there is no such pair, or the window lies outside it.
    """
    known = dataset.names
    missing = [name for name in names if name not in known]
    if missing:
        raise CmudrnError(f"{title} has no picture {missing[0]!r}; it begins with {known[0]!r}.")
    numbers = [known.index(name) for name in names] or range(min(3, len(known)))
    pairs = [dataset[number] for number in numbers]
    for pair in pairs:
        _check_window(window, pair.clean, pair.name)
    return pairs


def _check_window(window: tuple[slice, slice] | None, image: Image, name: str) -> None:
    height, width = image.shape[:2]
    if window and (window[0].stop > height or window[1].stop > width):
        raise CmudrnError(f"The crop lies outside {name}: {width} x {height} pixels.")
