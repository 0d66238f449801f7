"""The record of a restored file: how it came about."""

from __future__ import annotations

import hashlib
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cmudrn.models import ModelInfo, shipped_models
from cmudrn.models.info import check_depth
from cmudrn.photos.provenance import NOT_EVIDENCE, Provenance
from cmudrn.photos.record import (
    FORMAT,
    FileRecord,
    MachineRecord,
    ModelRecord,
    ProgramRecord,
    Record,
    SettingsRecord,
)
from cmudrn.photos.settings import PhotoSettings
from cmudrn.restoration import Restorer
from cmudrn.version import __version__


def recorded_settings(restorer: Restorer, settings: PhotoSettings, dehazed: bool) -> SettingsRecord:
    """Return what a record says of a restoration.

    Args:
        restorer: the model and how it is run.
        settings: what was wanted, the provenance included.
        dehazed: whether haze was taken off, whoever decided it.
    """
    asked, provenance = settings.restore, settings.provenance or Provenance()
    stages, recursions = check_depth(restorer.info, asked.stages, asked.recursions)
    return SettingsRecord(
        engine=provenance.engine,
        instruction_set=restorer.engine.instruction_set,
        threads=provenance.threads,
        strength=asked.strength,
        stages=stages,
        recursions=recursions,
        tile_pixels=restorer.tile_pixels,
        change_gating=restorer.change_gating,
        dehazing=dehazed,
        format=settings.format,
        quality=settings.quality,
        subsampling=settings.subsampling,
        side_by_side=settings.side_by_side,
    )


def make_record(
    source: tuple[Path, bytes],
    target: tuple[Path, bytes],
    info: ModelInfo,
    provenance: Provenance,
    settings: SettingsRecord,
    changed: float | None = None,
) -> Record:
    """Return the record of a restored file.

    Args:
        source: the input file, and its bytes as they were read.
        target: where the output goes, and its bytes.
        info: of the model that was run.
        provenance: how it was asked for.
        settings: of the restoration.
        changed: share of the pixels that it changed strongly.
    """
    folder = target[0].parent
    shipped = provenance.model in shipped_models()
    return Record(
        format=FORMAT,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        program=ProgramRecord(name="cmudrn", version=__version__, libraries=_libraries()),
        input=_file_record(_relative(source[0], folder), source[1]),
        output=_file_record(target[0].name, target[1]),
        model=ModelRecord(
            name=info.name,
            path=provenance.model if shipped else _relative(Path(provenance.model), folder),
            shipped=shipped,
            sha256=info.sha256,
        ),
        settings=settings,
        arguments=provenance.arguments,
        statement=NOT_EVIDENCE,
        machine=_machine(),
        changed=None if changed is None else round(changed, 4),
    )


def _file_record(path: str, data: bytes) -> FileRecord:
    return FileRecord(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _relative(path: Path, folder: Path) -> str:
    real = os.path.realpath(path)
    try:
        return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive
        return Path(real).as_posix()


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "onnxruntime", "pyvips", "pyvips-binary")}


def _machine() -> MachineRecord:
    return MachineRecord(
        name=platform.node(),
        system=platform.platform(),
        processor=processor_name(),
        cores=os.cpu_count(),
        python=platform.python_version(),
    )


def processor_name() -> str:
    """Return what the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
