"""One picture file restored into another."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import CmudrnError
from cmudrn.files import atomic_file, check_target
from cmudrn.image import (
    MAX_BYTES,
    MAX_PIXELS,
    SUFFIXES,
    Image,
    Picture,
    encode_picture,
    read_bytes,
    read_picture,
    unsupported_features,
)
from cmudrn.models.info import check_depth
from cmudrn.photos.provenance import (
    Provenance,
    encode_record,
    evidence_path,
    make_record,
    mark_enhanced,
)
from cmudrn.restoration import (
    OnTile,
    RestoredImage,
    Restorer,
    RestoreSettings,
    restore_image,
)
from cmudrn.restoration.weather_classifier import WeatherScore


@dataclass(frozen=True)
class Options:
    """What all files of a run have in common.

    Attributes:
        restorer: does the work.
        strength: see `Restorer`.
        stages: see `Restorer`.
        recursions: see `Restorer`.
        layers: also write what each branch and the fusion removed.
        format: of the results; None is each input's own.
        quality: see `encode_picture`.
        subsampling: see `encode_picture`.
        overwrite: replace files that are there.
        max_pixels: see `read_picture`.
        max_bytes: see `read_picture`.
        evidence: mark the results and write a record beside each; None does neither.
        gate: leave pictures as they are whose weather score says clear.
        score: tell the weather score in the record.
    """

    restorer: Restorer
    strength: float = 1.0
    stages: int | None = None
    recursions: int | None = None
    layers: bool = False
    format: str | None = None
    quality: int | None = None
    subsampling: str = "auto"
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    evidence: Provenance | None = None
    gate: bool = False
    score: bool = False


def restore_file(
    source: Path, target: Path, options: Options, on_tile: OnTile | None = None
) -> dict[str, Any]:
    """Restore one picture file and return what was done, ready for JSON.

    The result, its layers and its record appear together.

    Raises:
        CmudrnError: the picture cannot be read, restored or written; nothing is written then.
    """
    start = time.perf_counter()
    for path in result_paths(target, options):
        check_target(source, path, options.overwrite)
    layers = layer_paths(target, options.restorer.info.tasks) if options.layers else {}
    # A record hashes the very bytes that were decoded, so these are read once.
    data = read_bytes(source, options.max_bytes) if options.evidence else None
    picture = read_picture(
        source if data is None else data,
        max_pixels=options.max_pixels,
        max_bytes=options.max_bytes,
        name=str(source),
    )
    options = replace(options, format=_format_for(source, target, picture, options))
    restored, done = restore_picture(picture, options, on_tile)
    make_folder(target.parent)
    with ExitStack() as files:  # on an error no file takes its name

        def write(path: Path, content: bytes) -> None:
            file = files.enter_context(atomic_file(path))
            file.write(content)
            file.flush()  # a full disk shows here, before the first file takes its name

        output = encode_picture(restored, **_encoding(options))
        write(target, output)
        for name, path in layers.items():
            write(path, encode_picture(Picture(encode_layer(done.residuals[name])), "png"))
        if options.evidence and data is not None:
            info, settings = options.restorer.info, _settings(options)
            record = make_record(source, target, data, output, info, options.evidence, settings)
            write(evidence_path(target), encode_record(record))
    height, width = picture.pixels.shape[:2]
    return {
        "input": str(source),
        "output": str(target),
        "ok": True,
        "width": width,
        "height": height,
        "model": options.restorer.info.name,
        "seconds": round(time.perf_counter() - start, 3),
        "layers": {name: str(path) for name, path in layers.items()},
        **_tell_weather(done.weather, options),
        "notes": list(_notes(picture, restored, options)),
    }


def _notes(picture: Picture, restored: Picture, options: Options) -> tuple[str, ...]:
    """Return what reading could not keep of a picture, and what writing cannot."""
    return (*picture.notes, *unsupported_features(restored, options.format or picture.format))


def _encoding(options: Options) -> dict[str, Any]:
    return {
        "format": options.format,
        "quality": options.quality,
        "subsampling": options.subsampling,
    }


def _settings(options: Options) -> dict[str, Any]:
    """Return what decides the bytes of a result, the model's own depth filled in."""
    stages, recursions = check_depth(options.restorer.info, options.stages, options.recursions)
    return {
        "strength": options.strength,
        "stages": stages,
        "recursions": recursions,
        "tile_pixels": options.restorer.tile_pixels,
        "change_gating": options.restorer.change_gating,
        **_encoding(options),
    }


def restore_bytes(
    data: bytes, options: Options, on_tile: OnTile | None = None, *, name: str | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """Return a picture file's bytes restored, in options' format or its own, and notes.

    The notes are sentences about what could not be kept.

    Args:
        data: a picture file.
        options: layers and overwrite do not matter here.
        on_tile: told of progress.
        name: what to call the picture in messages.

    Raises:
        CmudrnError: the picture cannot be read, restored or written.
    """
    picture = read_picture(
        data, max_pixels=options.max_pixels, max_bytes=options.max_bytes, name=name
    )
    restored, _ = restore_picture(picture, replace(options, layers=False), on_tile)
    return encode_picture(restored, **_encoding(options)), _notes(picture, restored, options)


def _tell_weather(weather: WeatherScore | None, options: Options) -> dict[str, Any]:
    if weather is None:
        return {}
    scores = {name: round(value, 4) for name, value in asdict(weather).items()}
    return {"weather": scores, "passed": options.gate and weather.passes}


def restore_picture(
    picture: Picture, options: Options, on_tile: OnTile | None = None
) -> tuple[Picture, RestoredImage]:
    """Return the picture restored and marked as options ask for, and what is known about it."""
    settings = RestoreSettings(
        options.strength,
        options.stages,
        options.recursions,
        layers=options.layers,
        score=options.score,
        gate=options.gate,
    )
    done = restore_image(options.restorer, picture.pixels, settings, on_tile=on_tile)
    restored = replace(picture, pixels=done.pixels)
    return (mark_enhanced(restored) if options.evidence else restored), done


def _format_for(source: Path, target: Path, picture: Picture, options: Options) -> str:
    """Return the format of a result: as asked for, or as named, or as it came."""
    if options.format:
        return options.format
    if source.suffix == target.suffix:  # a PNG that is called .jpg stays what it is
        return picture.format
    return SUFFIXES.get(target.suffix.lower(), picture.format)


def layer_paths(target: Path, tasks: tuple[str, ...]) -> dict[str, Path]:
    """Return where the picture of each layer goes: `photo.removed-rain.png` and so on."""
    return {
        name: target.with_name(f"{target.stem}.removed-{name}.png") for name in (*tasks, "fused")
    }


def result_paths(target: Path, options: Options) -> list[Path]:
    """Return every file that `restore_file` writes for a target."""
    layers = layer_paths(target, options.restorer.info.tasks) if options.layers else {}
    return [target, *layers.values(), *([evidence_path(target)] if options.evidence else [])]


def encode_layer(residual: Image) -> NDArray[np.uint8]:
    """Return what was removed, (H, W, 3) in [-1, 1], as 8-bit values to look at.

    128 is nothing removed, brighter is light taken away, darker is light added:
    removed = (value - 128) / 127.
    """
    values = np.rint(np.float32(128) + np.float32(127) * residual)
    encoded: NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    return encoded


def make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        CmudrnError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CmudrnError(f"Cannot make the folder {folder}: {error.strerror}.") from error
