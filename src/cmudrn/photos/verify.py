"""A restored photo made again from its record, and compared byte by byte.

The record may come from a stranger. What it names is read only where it is a regular file in the
record's folder or below, within limits, and only a shipped model is run; whatever else is wanted,
the caller names.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmudrn.engines import Engine, open_engine
from cmudrn.engines.native import NativeUnavailableError
from cmudrn.errors import CmudrnError, FileError
from cmudrn.image import MAX_BYTES, MAX_PIXELS, read_bytes, read_picture
from cmudrn.models import find_model, shipped_models
from cmudrn.photos.provenance import Provenance, evidence_path
from cmudrn.photos.record import Record, RecordError, SettingsRecord, read_record
from cmudrn.photos.restore_photo import restore_bytes
from cmudrn.photos.settings import PhotoSettings
from cmudrn.restoration import Restorer, RestoreSettings
from cmudrn.version import __version__

MAX_DEPTH = 64
"""Most stages, and most recursions, that a record is believed."""

SAME_PICTURE = 1.0
"""Largest difference of a pixel, in steps of 1/255, where another instruction set was used."""

SAME_COMPRESSED = 8.0
"""The same where the output is compressed with losses, which rounds anew."""

MIN_TILE_PIXELS, MAX_TILE_PIXELS = 1 << 12, 1 << 24
"""Smallest and largest tiles that a record is believed."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: "output", "input", "model" or "re-run".
        ok: whether it is as recorded.
        finding: what was found, in words.
    """

    subject: str
    ok: bool
    finding: str


@dataclass(frozen=True)
class Limits:
    """What is read at most; see `read_picture`."""

    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES


def verify(
    target: Path,
    source: Path | None = None,
    model: str | None = None,
    limits: Limits | None = None,
) -> list[Check]:
    """Return what became of a restored file, its input and its model, and of making it again.

    Args:
        target: the restored file, its record beside it.
        source: the input, or a folder that holds it under its recorded name; None is where the
            record says, if that is in the record's folder or below.
        model: the model file; None is the shipped model that the record names.
        limits: what is read at most.

    Raises:
        RecordError: there is no record, it is damaged, or asks for what cannot be done.
    """
    limits = limits or Limits()
    path = evidence_path(target)
    if not os.path.lexists(path):
        raise RecordError(f"There is no record {path}.", path=path)
    record = read_record(path)
    _check_settings(path, record.settings)
    checks = [_check_file("output", target, record.output.sha256, limits)]
    found = _find_input(target, source, record)
    if isinstance(found, Check):
        checks.append(found)
    else:
        checks.append(_check_file("input", found, record.input.sha256, limits))
    checks.append(_check_model(model or record.model.path, record, named=model is not None))
    if not target.is_file():
        checks.append(Check("re-run", False, "not possible without the output"))
    elif isinstance(found, Path) and all(check.ok for check in checks[1:]):
        checks.append(_run_again(target, found, model or record.model.path, record, limits))
    else:
        checks.append(Check("re-run", False, "not possible without that input and model"))
    return checks


def _check_settings(path: Path, settings: SettingsRecord) -> None:
    """Refuse settings that no run of ours has, and those that would take for ever.

    Raises:
        RecordError: they are such.
    """
    depth = (settings.stages, settings.recursions)
    in_reach = MIN_TILE_PIXELS <= settings.tile_pixels <= MAX_TILE_PIXELS
    if not all(1 <= loops <= MAX_DEPTH for loops in depth) or not in_reach:
        sentence = f"The record {path} asks for stages, recursions or tiles beyond any use."
        raise RecordError(sentence, path=path)


def _find_input(target: Path, source: Path | None, record: Record) -> Path | Check:
    """Return the input, or what speaks against looking at it."""
    recorded = Path(record.input.path)
    if source is not None:
        return source / recorded.name if source.is_dir() else source
    # A record's paths start at the real folder, which is elsewhere than a link to it.
    folder = os.path.realpath(target.parent)
    try:
        real = os.path.realpath(os.path.join(folder, recorded))
    except ValueError:
        return Check("input", False, "the record gives no file name")
    if os.path.commonpath([folder, real]) != folder:
        finding = f"{recorded} lies outside the record's folder and is not looked at; name it"
        return Check("input", False, finding)
    return Path(real)


def _check_file(subject: str, path: Path, sha256: str, limits: Limits) -> Check:
    try:
        found = hashlib.sha256(read_bytes(path, limits.max_bytes)).hexdigest()
    except FileError as error:
        return Check(subject, False, str(error).rstrip("."))
    ok = found == sha256
    return Check(subject, ok, f"{path} {'is unchanged' if ok else 'has other bytes than recorded'}")


def _check_model(model: str, record: Record, *, named: bool) -> Check:
    if not named and model not in shipped_models():
        finding = f"{model} is not a shipped model and is not looked at; name its file"
        return Check("model", False, finding)
    try:
        return _check_file("model", find_model(model), record.model.sha256, Limits())
    except CmudrnError as error:
        return Check("model", False, str(error).rstrip("."))


def _run_again(target: Path, source: Path, model: str, record: Record, limits: Limits) -> Check:
    recorded = record.settings
    engine = _open_like(model, recorded)
    restorer = Restorer(
        engine, tile_pixels=recorded.tile_pixels, change_gating=recorded.change_gating
    )
    adjustable = engine.info.adjustable
    settings = PhotoSettings(
        RestoreSettings(
            recorded.strength,
            recorded.stages if adjustable else None,
            recorded.recursions if adjustable else None,
            dehazing=recorded.dehazing,
        ),
        format=recorded.format,
        quality=recorded.quality,
        subsampling=recorded.subsampling,
        side_by_side=recorded.side_by_side,
        max_pixels=limits.max_pixels,
        max_bytes=limits.max_bytes,
        provenance=Provenance(),
    )
    output = read_bytes(target, limits.max_bytes)
    data = read_bytes(source, limits.max_bytes)
    again = restore_bytes(restorer, data, settings, name=str(source)).data
    as_recorded = hashlib.sha256(again).hexdigest() == record.output.sha256
    if again == output:
        finding = (
            "gives the same bytes" if as_recorded else "gives the file's bytes, not the record's"
        )
        return Check("re-run", as_recorded, finding)
    difference = _difference(again, output, record)
    if as_recorded:
        finding = f"gives the bytes of the record; the file was changed: {difference}"
        return Check("re-run", True, finding)
    elsewhere = recorded.instruction_set not in ("", engine.instruction_set)
    if elsewhere and (steps := _steps(again, output)) is not None:
        allowed = SAME_PICTURE if read_picture(output).lossless else SAME_COMPRESSED
        here = engine.instruction_set or "another engine"
        finding = (
            f"made with {recorded.instruction_set}, this is {here}: pixels differ by at most "
            f"{steps:g}/255, and {allowed:g}/255 is promised"
        )
        return Check("re-run", steps <= allowed, finding)
    return Check("re-run", False, f"gives other bytes than record and file: {difference}")


def _open_like(model: str, recorded: SettingsRecord) -> Engine:
    """Return the engine that a record names, or whichever runs here where that one does not."""
    try:
        return open_engine(model, recorded.engine, recorded.threads, "fp32")
    except NativeUnavailableError:
        return open_engine(model, "auto", recorded.threads, "fp32")


def _steps(again: bytes, output: bytes) -> float | None:
    """Return the largest difference of two pictures in steps of 1/255; None where they have none.

    Pictures of other sizes or types are not compared.
    """
    try:
        old, new = (read_picture(data).pixels for data in (output, again))
    except CmudrnError:
        return None
    if old.shape != new.shape or old.dtype != new.dtype:
        return None
    largest = float(np.abs(old.astype(np.float64) - new).max())
    return largest * 255 / np.iinfo(old.dtype).max


def _difference(again: bytes, output: bytes, record: Record) -> str:
    made_with, runs = record.program.version, __version__
    versions = "" if made_with == runs else f" (made by version {made_with}, this is {runs})"
    try:
        old, new = (read_picture(data).pixels for data in (output, again))
    except CmudrnError:
        return f"the file is no longer a picture within the limits{versions}"
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"the picture has another size or type{versions}"
    largest = np.abs(old.astype(np.float64) - new).max()
    return f"pixels differ by at most {largest:g}{versions}"
