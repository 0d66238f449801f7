"""A restored file made again from its record, and compared byte by byte."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cmudrn
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError
from cmudrn.image import read_bytes, read_picture
from cmudrn.models import find_model
from cmudrn.photos.provenance import Provenance, read_record
from cmudrn.photos.restore_photo import Options, restore_bytes
from cmudrn.restoration.restorer import Restorer


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


def verify(target: Path, source: Path | None = None, model: str | None = None) -> list[Check]:
    """Return what became of a restored file, its input and its model, and of making it again.

    Args:
        target: the restored file, its record beside it.
        source: the input, where it is no longer where the record says.
        model: the model file, likewise.

    Raises:
        CmudrnError: there is no record, it is damaged, or asks for what cannot be done.
    """
    record = read_record(target)
    try:
        source = source or _beside(target, record["input"]["path"])
        named = record["model"]["path"]
        model = model or (named if record["model"]["shipped"] else str(_beside(target, named)))
        checks = [
            _check_file("output", target, record["output"]["sha256"]),
            _check_file("input", source, record["input"]["sha256"]),
            _check_model(model, record["model"]["sha256"]),
        ]
        if not target.is_file():
            checks.append(Check("re-run", False, "not possible without the output"))
        elif all(check.ok for check in checks[1:]):
            checks.append(_run_again(target, source, model, record))
        else:
            checks.append(Check("re-run", False, "not possible without that input and model"))
        return checks
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CmudrnError(f"The record of {target} is damaged.") from error


def _beside(target: Path, recorded: str) -> Path:
    # A record's paths start at the real folder, which is elsewhere than a link to it.
    return Path(os.path.normpath(os.path.realpath(target.parent) / Path(recorded)))


def _check_file(subject: str, path: Path, sha256: str) -> Check:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return Check(subject, False, f"{path} cannot be read: {error.strerror}")
    ok = found == sha256
    return Check(subject, ok, f"{path} {'is unchanged' if ok else 'has other bytes than recorded'}")


def _check_model(model: str, sha256: str) -> Check:
    try:
        return _check_file("model", find_model(model), sha256)
    except CmudrnError as error:
        return Check("model", False, str(error).rstrip("."))


def _run_again(target: Path, source: Path, model: str, record: Mapping[str, Any]) -> Check:
    settings = record["settings"]
    engine = open_engine(model, settings["engine"], settings["threads"], "fp32")
    depth = (settings["stages"], settings["recursions"])
    options = Options(
        Restorer(
            engine,
            tile_pixels=settings["tile_pixels"],
            change_gating=settings.get("change_gating", False),  # records from before there was one
        ),
        strength=settings["strength"],
        stages=depth[0] if engine.info.adjustable else None,
        recursions=depth[1] if engine.info.adjustable else None,
        format=settings["format"],
        quality=settings["quality"],
        subsampling=settings["subsampling"],
        max_pixels=sys.maxsize,  # the bytes are those that were restored under limits of that day
        max_bytes=sys.maxsize,
        evidence=Provenance(),
    )
    output = target.read_bytes()
    again, _ = restore_bytes(read_bytes(source, sys.maxsize), options, name=str(source))
    if again == output:
        return Check("re-run", True, "gives the same bytes")
    return Check("re-run", False, f"gives other bytes: {_difference(again, output, record)}")


def _difference(again: bytes, output: bytes, record: Mapping[str, Any]) -> str:
    made_with, runs = record["program"]["version"], cmudrn.__version__
    versions = "" if made_with == runs else f" (made by version {made_with}, this is {runs})"
    try:
        old, new = (
            read_picture(data, max_pixels=sys.maxsize, max_bytes=sys.maxsize).pixels
            for data in (output, again)
        )
    except CmudrnError:
        return f"the file is no longer a picture{versions}"
    if old.shape != new.shape or old.dtype != new.dtype:
        return f"the picture has another size or type{versions}"
    largest = np.abs(old.astype(np.float64) - new).max()
    return f"pixels differ by at most {largest:g}{versions}"
