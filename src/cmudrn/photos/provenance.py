"""What marks a restored file: a mark inside it and the name of the record beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from cmudrn.errors import UnsupportedImageError
from cmudrn.image import Picture

ENHANCED = b"http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"
"""IPTC's term for a picture whose content a program improved without making it up."""

NOT_EVIDENCE = (
    "Restored by a program: what rain or snow had covered is a guess. "
    "Not evidence of hidden content."
)
"""Stands in the XMP (as Photoshop's special instructions) and in the record of every result."""

_SOURCE_TYPE = re.compile(rb"(Iptc4xmpExt:DigitalSourceType\s*(?:=\s*[\"']|>))[^\"'<]*(?=[\"'<])")
_DESCRIPTION = (
    b'<rdf:Description rdf:about="" '
    b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    b'Iptc4xmpExt:DigitalSourceType="' + ENHANCED + b'"/>'
)
_INSTRUCTIONS = (
    b'<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
    b'photoshop:Instructions="' + NOT_EVIDENCE.encode() + b'"/>'
)
_RDF = (b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">', b"</rdf:RDF>")
_PACKET = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">',
    b'</x:xmpmeta><?xpacket end="w"?>',
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
    """Return the picture with an XMP mark that a program enhanced it; other XMP is kept.

    Raises:
        UnsupportedImageError: its XMP cannot be added to.
    """
    xmp = picture.metadata.get("xmp-data")
    marked = mark_xmp(xmp if isinstance(xmp, bytes) else b"", picture.name or "The picture")
    return replace(picture, metadata={**picture.metadata, "xmp-data": marked})


def mark_xmp(xmp: bytes, name: str = "The picture") -> bytes:
    """Return an XMP packet that says what a restored picture is, and what it is not.

    DigitalSourceType becomes "algorithmically enhanced". Instructions say that the picture is no
    evidence of hidden content; the photographer's own instructions, if there are any, stay.

    Args:
        xmp: the packet; empty where there is none.
        name: what messages call the picture.

    Raises:
        UnsupportedImageError: the packet is not one that could be added to without loss.
    """
    added = b"" if b"photoshop:Instructions" in xmp else _INSTRUCTIONS
    if _SOURCE_TYPE.search(xmp):
        xmp = _SOURCE_TYPE.sub(lambda match: match[1] + ENHANCED, xmp)
    else:
        added = _DESCRIPTION + added
    if not xmp.strip(b"\0 \r\n\t"):
        return _PACKET[0] + _RDF[0] + added + _RDF[1] + _PACKET[1]
    empty = _EMPTY_RDF.search(xmp)
    if empty:
        filled = b"<rdf:RDF" + empty[1] + b">" + added + _RDF[1]
        return xmp[: empty.start()] + filled + xmp[empty.end() :]
    for closing, content in ((_RDF[1], added), (b"</x:xmpmeta>", _RDF[0] + added + _RDF[1])):
        head, end, tail = xmp.rpartition(closing)
        if end:
            return head + content + end + tail
    sentence = f"The XMP data of {name} are damaged or unusual; it cannot be marked as enhanced."
    raise UnsupportedImageError(sentence, path=name)


def evidence_path(target: Path) -> Path:
    """Return where the record of a restored file goes: `photo.restored.jpg.evidence.json`."""
    return target.with_name(target.name + ".evidence.json")
