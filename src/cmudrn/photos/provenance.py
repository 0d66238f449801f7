"""How a restored file came about: a mark inside it and a record beside it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cmudrn
from cmudrn.errors import CmudrnError
from cmudrn.image import Picture
from cmudrn.models import ModelInfo, shipped_models

FORMAT = 1
"""Of the sidecar; docs/evidence.md describes it."""

ENHANCED = b"http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC's term for a picture whose content a program improved without making it up."""

_SOURCE_TYPE = re.compile(rb"(Iptc4xmpExt:DigitalSourceType\s*(?:=\s*[\"']|>))[^\"'<]*(?=[\"'<])")
_DESCRIPTION = (
    b'<rdf:Description rdf:about="" '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    b'Iptc4xmpExt:DigitalSourceType="' + ENHANCED + b'"/>'
)
_RDF = (
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    + _DESCRIPTION
    + b"</rdf:RDF>"
)
_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + _RDF + b'</x:xmpmeta><?xpacket end="w"?>'
)
_EMPTY_RDF = re.compile(rb"<rdf:RDF([^>]*)/>")


@dataclass(frozen=True)
class Provenance:
    """What a record says that the restorer itself does not know.

    Attributes:
        model: the shipped model's name, or the model file, as it was asked for.
        engine: as it was asked for.
        threads: as they were asked for.
        arguments: the command line.
    """

    model: str = "cmudrn"
    engine: str = "auto"
    threads: int | None = None
    arguments: tuple[str, ...] = ()


def mark_enhanced(picture: Picture) -> Picture:
    """Return the picture with an XMP mark that a program enhanced it; other XMP is kept."""
    xmp = picture.metadata.get("xmp-data")
    marked = mark_xmp(xmp if isinstance(xmp, bytes) else b"")
    return replace(picture, metadata={**picture.metadata, "xmp-data": marked})


def mark_xmp(xmp: bytes) -> bytes:
    """Return an XMP packet whose DigitalSourceType says "algorithmically enhanced".

    Raises:
        CmudrnError: the packet is not one that could be added to without loss.
    """
    if not xmp.strip(b"\0 \r\n\t"):
        return _PACKET
    if _SOURCE_TYPE.search(xmp):
        return _SOURCE_TYPE.sub(lambda match: match[1] + ENHANCED, xmp)
    empty = _EMPTY_RDF.search(xmp)
    if empty:
        filled = b"<rdf:RDF" + empty[1] + b">" + _DESCRIPTION + b"</rdf:RDF>"
        return xmp[: empty.start()] + filled + xmp[empty.end() :]
    for closing, content in ((b"</rdf:RDF>", _DESCRIPTION), (b"</x:xmpmeta>", _RDF)):
        head, end, tail = xmp.rpartition(closing)
        if end:
            return head + content + end + tail
    raise CmudrnError("The picture's XMP data are damaged or unusual; --evidence cannot mark it.")


def evidence_path(target: Path) -> Path:
    """Return where the record of a restored file goes: `photo.restored.jpg.evidence.json`."""
    return target.with_name(target.name + ".evidence.json")


def make_record(
    source: Path,
    target: Path,
    data: bytes,
    output: bytes,
    info: ModelInfo,
    provenance: Provenance,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the record of a restored file.

    Args:
        source: the input file.
        target: where the output goes.
        data: the bytes of the input, as they were read.
        output: the bytes of the output.
        info: of the model that was run.
        provenance: how it was asked for.
        settings: of the restoration, ready for JSON.
    """
    folder = target.parent
    shipped = provenance.model in shipped_models()
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": {"name": "cmudrn", "version": cmudrn.__version__, "libraries": _libraries()},
        "input": {"path": _relative(source, folder), **_digest(data)},
        "output": {"path": target.name, **_digest(output)},
        "model": {
            "name": info.name,
            "path": provenance.model if shipped else _relative(Path(provenance.model), folder),
            "shipped": shipped,
            "sha256": info.sha256,
        },
        "settings": {"engine": provenance.engine, "threads": provenance.threads, **settings},
        "arguments": list(provenance.arguments),
        "machine": _machine(),
    }


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return a record as the bytes of its file."""
    return json.dumps(record, indent=2).encode() + b"\n"


def read_record(target: Path) -> dict[str, Any]:
    """Return the record of a restored file.

    Raises:
        CmudrnError: there is none, it is damaged, or of another format.
    """
    path = evidence_path(target)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = record["format"]
    except OSError as error:
        raise CmudrnError(
            f"There is no record {path}; `cmudrn restore --evidence` writes one."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CmudrnError(f"The record {path} is damaged.") from error
    if found != FORMAT:
        raise CmudrnError(f"The record {path} has format {found}; this version reads {FORMAT}.")
    return dict(record)


def _digest(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _relative(path: Path, folder: Path) -> str:
    real = os.path.realpath(path)
    try:
        return Path(os.path.relpath(real, os.path.realpath(folder))).as_posix()
    except ValueError:  # on another drive
        return Path(real).as_posix()


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "onnxruntime", "pyvips", "pyvips-binary")}


def _machine() -> dict[str, Any]:
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
