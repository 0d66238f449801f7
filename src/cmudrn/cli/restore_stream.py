"""`cmudrn restore` through pipes: one picture, or raw frames."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from typer import BadParameter

from cmudrn.cli.terminal import note
from cmudrn.errors import TargetError

if TYPE_CHECKING:
    from cmudrn.photos import PhotoSettings, RestoredBytes
    from cmudrn.restoration import Restorer, RestoreSettings


def restore_stream(
    inputs: list[str], output: str | None, restorer: Restorer, settings: PhotoSettings
) -> None:
    """Restore one picture from standard input, to standard output, or both.

    Args:
        inputs: files, of which one may be "-".
        output: a file, or "-" or None for standard output.
        restorer: the model and how it is run.
        settings: what is wanted.

    Raises:
        BadParameter: there are several pictures, or standard output is a terminal.
        CmudrnError: the picture cannot be read, restored or written.
    """
    from cmudrn.image import read_bytes
    from cmudrn.photos import restore_bytes

    if len(inputs) > 1:
        raise BadParameter("Standard input and output take a single picture.")
    if output in (None, "-"):
        _check_stdout("A picture is not written to a terminal; redirect it or use -o.")
    source = inputs[0]
    if source == "-":
        data, name = _read_stdin(settings.max_bytes), "Standard input"
    else:
        data, name = read_bytes(source, settings.max_bytes), source
    if output in (None, "-"):
        restored = restore_bytes(restorer, data, settings, name=name)
        sys.stdout.buffer.write(restored.data)
        sys.stdout.buffer.flush()
    else:
        restored = _restore_to(Path(str(output)), restorer, data, settings, name)
    for sentence in restored.notes:
        note(f"{name}: {sentence}")


def _restore_to(
    target: Path, restorer: Restorer, data: bytes, settings: PhotoSettings, name: str
) -> RestoredBytes:
    from cmudrn.files import atomic_file, check_target, claim_target, make_folder
    from cmudrn.image import format_for
    from cmudrn.photos import restore_bytes
    from cmudrn.photos.planning import check_format

    check_target(None, target, settings.overwrite)
    check_format(target, settings.format)
    settings = replace(settings, format=settings.format or format_for(target))
    with claim_target(target):
        restored = restore_bytes(restorer, data, settings, name=name)
        make_folder(target.parent)
        with atomic_file(target) as file:
            file.write(restored.data)
    return restored


def restore_raw_frames(
    inputs: list[str],
    output: str | None,
    frames: tuple[str, str],
    restorer: Restorer,
    settings: RestoreSettings,
    *,
    temporal: bool,
) -> None:
    """Restore raw frames from standard input to standard output.

    Raises:
        BadParameter: files are named, or standard output is a terminal.
        CmudrnError: the layout or size is none, or the frames end in the middle of one.
    """
    from cmudrn.video.raw_frames import RawFormat, restore_raw

    if inputs != ["-"] or output not in (None, "-"):
        raise BadParameter("--frames reads standard input and writes standard output (-).")
    _check_stdout("Frames are not written to a terminal; pipe them on.")
    form = RawFormat.parse(*frames)
    restore_raw(sys.stdin.buffer, sys.stdout.buffer, form, restorer, settings, temporal=temporal)


def _check_stdout(refusal: str) -> None:
    if sys.__stdout__ is None:
        raise TargetError("Standard output is closed.")
    if sys.stdout.isatty():
        raise BadParameter(refusal)


def _read_stdin(max_bytes: int) -> bytes:
    """Return standard input, or one byte more than the limit if it holds more."""
    data = bytearray()
    # In pieces, since a read of the whole limit would ask for that much memory at once.
    while piece := sys.stdin.buffer.read(min(max_bytes + 1 - len(data), 1 << 20)):
        data += piece
    return bytes(data)
