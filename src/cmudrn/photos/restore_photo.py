"""One photo restored: read, restore the image, encode, write."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmudrn.errors import InvalidSettingError
from cmudrn.files import atomic_file, check_target, claim_target, make_folder
from cmudrn.image import (
    Image,
    Picture,
    encode_picture,
    format_for,
    read_bytes,
    read_picture,
    unsupported_features,
)
from cmudrn.photos.provenance import evidence_path, mark_enhanced
from cmudrn.photos.settings import PhotoResult, PhotoSettings, RestoredBytes
from cmudrn.restoration import OnTile, RestoredImage, Restorer, restore_image

PLAIN = PhotoSettings()
"""Full strength, in the source's own format."""


def restore_photo(
    restorer: Restorer,
    source: Path,
    target: Path,
    settings: PhotoSettings = PLAIN,
    on_tile: OnTile | None = None,
) -> PhotoResult:
    """Restore one photo.

    The result, its layers and its record appear together. None of them is more readable than the
    source.

    Args:
        restorer: the model and how it is run.
        source: a file.
        target: where the result goes; folders are made.
        settings: what is wanted.
        on_tile: told of progress.

    Raises:
        ImageFileError: the source cannot be read, or the format cannot hold it.
        TargetError: a file cannot be written, is there already, has a suffix of no known format
            that is not the source's, or another process is writing it.
        InvalidSettingError: a record is asked for, and the engine does not compute in float32.
        CmudrnError: as `restore_image`; nothing is written then.
    """
    start = time.perf_counter()
    if settings.provenance is not None:
        _require_float32(restorer)
    tasks = restorer.info.tasks
    with claim_target(target):
        for path in result_paths(target, settings, tasks):
            check_target(source, path, settings.overwrite)
        # A record hashes the very bytes that were decoded, so these are read once.
        data = read_bytes(source, settings.max_bytes) if settings.provenance else None
        picture = _read(source if data is None else data, settings, str(source))
        settings = replace(settings, format=_format_for(source, target, picture, settings))
        done = restore_image(restorer, picture.pixels, settings.restore, on_tile=on_tile)
        notes: tuple[str, ...] = ()
        if _keeps_bytes(picture, done, settings):
            output = read_bytes(source, settings.max_bytes)
        else:
            output, notes = _encode(picture, done, settings)
        layers = layer_paths(target, tasks) if settings.restore.layers else {}
        contents = _contents(restorer, source, target, settings, data, output, done)
        _write(source, [*contents, *_layer_files(layers, done)])
    height, width = picture.pixels.shape[:2]
    return PhotoResult(
        source,
        target,
        width,
        height,
        restorer.info.name,
        time.perf_counter() - start,
        layers,
        done.weather,
        done.passed,
        (*done.notes, *notes),
        done.changed,
    )


def restore_bytes(
    restorer: Restorer,
    data: bytes,
    settings: PhotoSettings = PLAIN,
    on_tile: OnTile | None = None,
    *,
    name: str = "The picture",
) -> RestoredBytes:
    """Restore the bytes of a photo's file.

    Args:
        restorer: the model and how it is run.
        data: an image file.
        settings: what is wanted; layers and overwriting do not matter here.
        on_tile: told of progress.
        name: what messages call the photo.

    Raises:
        ImageFileError: the data cannot be read, or the format cannot hold the result.
        CmudrnError: as `restore_image`.
    """
    picture = _read(data, settings, name)
    plain = replace(settings.restore, layers=False)
    done = restore_image(restorer, picture.pixels, plain, on_tile=on_tile)
    if _keeps_bytes(picture, done, settings):
        return RestoredBytes(data, (), done.weather, done.passed)
    output, notes = _encode(picture, done, settings)
    return RestoredBytes(output, (*done.notes, *notes), done.weather, done.passed, done.changed)


def _read(source: Path | bytes, settings: PhotoSettings, name: str) -> Picture:
    return read_picture(
        source, max_pixels=settings.max_pixels, max_bytes=settings.max_bytes, name=name
    )


def _format_for(source: Path, target: Path, picture: Picture, settings: PhotoSettings) -> str:
    """Return the format of a result: as asked for, or as named, or as it came."""
    if settings.format:
        return settings.format
    if source.suffix == target.suffix and not picture.read_only:
        return picture.format  # a PNG that is called .jpg stays what it is
    return format_for(target)


def _require_float32(restorer: Restorer) -> None:
    """Refuse bfloat16: it rounds differently with other threads, so no record could be verified."""
    if restorer.engine.precision != "fp32":
        sentence = "A record needs a model that was loaded with the precision fp32."
        raise InvalidSettingError(sentence, setting="precision", value=restorer.engine.precision)


def _keeps_bytes(picture: Picture, done: RestoredImage, settings: PhotoSettings) -> bool:
    """Return whether the result is the source itself: the gate passed it, nothing else is asked."""
    plain = settings.quality is None and settings.subsampling == "auto"
    altered = settings.side_by_side or settings.provenance is not None or picture.read_only
    same_format = settings.format in (None, picture.format)
    return done.passed and plain and same_format and not altered


def _encode(
    picture: Picture, done: RestoredImage, settings: PhotoSettings
) -> tuple[bytes, tuple[str, ...]]:
    """Return the result as a file, and what of the source it does not hold."""
    restored = replace(picture, pixels=done.pixels)
    if settings.side_by_side:
        restored = _side_by_side(picture, restored)
    if settings.provenance is not None:
        restored = mark_enhanced(restored)
    format = settings.format or picture.format
    output = encode_picture(
        restored, format, quality=settings.quality, subsampling=settings.subsampling
    )
    return output, (*picture.notes, *unsupported_features(restored, format))


def _side_by_side(before: Picture, after: Picture) -> Picture:
    """Return a picture with another one at its right."""
    alpha = before.alpha
    if alpha is not None:
        alpha = np.concatenate([alpha, alpha], axis=1)
    return replace(after, pixels=np.concatenate([before.pixels, after.pixels], axis=1), alpha=alpha)


def _contents(
    restorer: Restorer,
    source: Path,
    target: Path,
    settings: PhotoSettings,
    data: bytes | None,
    output: bytes,
    done: RestoredImage,
) -> Iterator[tuple[Path, bytes]]:
    """Yield the result and its record."""
    yield target, output
    if settings.provenance is None or data is None:
        return
    # Few results have a record; the others need not wait for these imports.
    from cmudrn.photos.making_records import make_record, recorded_settings  # noqa: PLC0415
    from cmudrn.photos.record import encode_record  # noqa: PLC0415

    record = make_record(
        (source, data),
        (target, output),
        restorer.info,
        settings.provenance,
        recorded_settings(restorer, settings, done.dehazed),
        done.changed,
    )
    yield evidence_path(target), encode_record(record)


def _layer_files(layers: Mapping[str, Path], done: RestoredImage) -> Iterator[tuple[Path, bytes]]:
    for name, path in layers.items():
        yield path, encode_picture(Picture(encode_layer(done.residuals[name])), "png")


def _write(source: Path, contents: Iterable[tuple[Path, bytes]]) -> None:
    """Write files of which all appear or none."""
    with ExitStack() as files:  # on an error no file takes its name
        for path, content in contents:
            make_folder(path.parent)
            file = files.enter_context(atomic_file(path, like=[source]))
            file.write(content)
            file.flush()  # a full disk shows here, before the first file takes its name


def layer_paths(target: Path, tasks: tuple[str, ...]) -> dict[str, Path]:
    """Return where the image of each layer goes: `photo.removed-rain.png` and so on."""
    return {
        name: target.with_name(f"{target.stem}.removed-{name}.png") for name in (*tasks, "fused")
    }


def result_paths(target: Path, settings: PhotoSettings, tasks: tuple[str, ...]) -> list[Path]:
    """Return every file that `restore_photo` writes for a target.

    Args:
        target: the result.
        settings: what is wanted.
        tasks: of the model.
    """
    layers = layer_paths(target, tasks) if settings.restore.layers else {}
    records = [evidence_path(target)] if settings.provenance else []
    return [target, *layers.values(), *records]


def encode_layer(residual: Image) -> NDArray[np.uint8]:
    """Return what was removed, (H, W, 3) in [-1, 1], as 8-bit values to look at.

    128 is nothing removed, brighter is light taken away, darker is light added:
    removed = (value - 128) / 127.
    """
    values = np.rint(np.float32(128) + np.float32(127) * residual)
    encoded: NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    return encoded
