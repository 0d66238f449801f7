"""Where restored images of a live source go: an image file, a folder, a recording."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cmudrn.errors import CmudrnError, FileError, InvalidSettingError
from cmudrn.files import atomic_file, file_kind, make_folder
from cmudrn.image import (
    Picture,
    Pixels,
    encode_picture,
    format_for,
    unsupported_features,
)
from cmudrn.live.recorder import Recorder
from cmudrn.live.sources import Arrival

Tell = Callable[[str, str], None]
"""Takes a word for what happened, such as "LIVE", and one sentence."""


class RefusedImageError(CmudrnError):
    """One image that cannot be restored or written; those after it can."""


class OutputWriter:
    """Writes each restored image to where the user wants it.

    Args:
        output: an image file that is replaced by each newer one; or, where the source is a folder,
            a folder to which each image goes under its name. None writes nothing.
        watched_folder: the source, where it is a folder.
        recorder: also gets each frame; it is not closed here.
        tell: told of each image of a folder that is done, and of what a result cannot hold.
        overwrite: replace results that were there before.

    Raises:
        CmudrnError: the output makes no sense for the source, or cannot be made.
    """

    def __init__(
        self,
        output: Path | None,
        watched_folder: Path | None,
        tell: Tell,
        *,
        recorder: Recorder | None = None,
        overwrite: bool = False,
    ) -> None:
        self._output, self._recorder = output, recorder
        self._tell, self._overwrite = tell, overwrite
        self._own: set[Path] = set()
        self._is_file = output is not None and file_kind(output) == "image"
        if output is None or self._is_file:
            return
        if watched_folder is None:
            raise InvalidSettingError(
                f"A stream's newest frame goes to an image file, such as now.jpg, not to {output}.",
                setting="output",
                value=output,
            )
        if output.resolve() == watched_folder.resolve():
            raise InvalidSettingError(
                f"{output} would be watched itself; choose another folder.",
                setting="output",
                value=output,
            )
        make_folder(output)

    def __call__(self, arrival: Arrival, pixels: Pixels) -> None:
        """Write one restored image.

        Args:
            arrival: what came.
            pixels: its restoration, in the shape and type of what came.

        Raises:
            RefusedImageError: this image cannot be written.
            CmudrnError: none can.
        """
        if self._output is not None:
            self._write(arrival, pixels, self._output)
        if self._recorder is not None:
            self._recorder.add(arrival, pixels)

    def _write(self, arrival: Arrival, pixels: Pixels, output: Path) -> None:
        """Write a result with all that its file held beside the pixels."""
        whole, target, format_ = Picture(pixels), output, None
        if arrival.picture is not None:
            whole = replace(arrival.picture, pixels=pixels)
        if not self._is_file:
            target, format_ = output / arrival.name, whole.format  # whatever the name says
            self._prepare(target)
        format_ = format_ or format_for(target)
        try:
            data = encode_picture(whole, format_)
        except CmudrnError as error:
            named = isinstance(error, FileError) and error.path is not None
            place = "" if named else f"{arrival.name or target}: "
            raise RefusedImageError(f"{place}{error}") from error
        with atomic_file(target, like=[arrival.file] if arrival.file else []) as file:
            file.write(data)
        self._own.add(target)
        if arrival.picture is not None:
            for note in (*whole.notes, *unsupported_features(whole, format_)):
                self._tell("NOTE", f"{arrival.name}: {note}")
            self._tell("DONE", f"{arrival.name} -> {target}")

    def _prepare(self, target: Path) -> None:
        if not self._overwrite and target not in self._own and os.path.lexists(target):
            raise RefusedImageError(f"{target} exists already and is not overwritten.")
        make_folder(target.parent)
