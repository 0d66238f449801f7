"""XMP packets: what a restored picture makes stale is updated; large ones are split for JPEG.

A packet stays as it is, byte by byte, unless something in it has to change.
Source: XMP specification, parts 1 and 3 (ISO 16684-1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any
from xml.dom import minidom
from xml.parsers.expat import ExpatError

_MAX_BYTES = 8 << 20  # of a packet that is looked into
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NOTE = "http://ns.adobe.com/xmp/note/"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_XAP = "http://ns.adobe.com/xap/1.0/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINER = "http://ns.google.com/photos/1.0/container/"
_GAIN_MAP = "http://ns.adobe.com/hdr-gain-map/1.0/"
_REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"
_FACES = "http://ns.microsoft.com/photo/1.2/"
_TERMS = "http://purl.org/dc/terms/"

_THUMBNAILS = "A thumbnail in its XMP data is left out."
_TURNED = "The regions marked in its XMP data are left out, as the picture was turned upright."
_DAMAGED = "Its XMP data is no well-formed XML; it is kept as it is."

_POINTER_BYTES = 300  # at most, of what points to an extended packet
_WORTH_A_LOOK = re.compile(
    rb"Orientation|ImageWidth|ImageLength|PixelXDimension|PixelYDimension|SubjectArea|Thumbnails"
    rb"|MotionPhoto|MicroVideo|Directory|hdr-gain-map|Regions|RegionInfo|provenance"
)
_WIDTHS = ((_TIFF, "ImageWidth"), (_EXIF, "PixelXDimension"))
_HEIGHTS = ((_TIFF, "ImageLength"), (_EXIF, "PixelYDimension"))

Property = tuple[str, str]
"""Namespace and local name."""


def updated(
    packet: bytes, orientation: int, area: Callable[[list[int]], list[int]]
) -> tuple[bytes, list[str]]:
    """Return a packet for a picture that was turned upright and written alone, and what was lost.

    Args:
        packet: as read.
        orientation: by which the picture was turned, 1 to 8.
        area: returns the numbers of a subject area in the picture that was turned.
    """
    if not _WORTH_A_LOOK.search(packet):
        return packet, []
    if (document := _parse(packet)) is None:
        return packet, [_DAMAGED]
    notes = []
    if _remove(document, lambda name: name == (_XAP, "Thumbnails")):
        notes.append(_THUMBNAILS)
    changed = bool(notes) | _remove(document, _points_to_lost_part)
    if orientation != 1:
        if _remove(document, lambda name: name in ((_REGIONS, "Regions"), (_FACES, "RegionInfo"))):
            notes.append(_TURNED)
        _set(document, (_TIFF, "Orientation"), "1")
        if orientation >= 5:
            _swap(document, (_TIFF, "XResolution"), (_TIFF, "YResolution"))
        _turn_area(document, area)
        changed = True
    return (_text(document) if changed else packet), notes


def resized(packet: bytes, width: int, height: int) -> bytes:
    """Return a packet whose dimensions, where it has some, are those of a picture."""
    if not re.search(rb"ImageWidth|ImageLength|PixelXDimension|PixelYDimension", packet):
        return packet
    if (document := _parse(packet)) is None:
        return packet
    changed = [_set(document, name, str(width)) for name in _WIDTHS]
    changed += [_set(document, name, str(height)) for name in _HEIGHTS]
    return _text(document) if any(changed) else packet


def merge_extended(packet: bytes, extended: bytes) -> bytes | None:
    """Return a packet with its extended part in it; None where one of the two is damaged."""
    main, other = _parse(packet), _parse(extended)
    if main is None or other is None:
        return None
    roots = main.getElementsByTagNameNS(_RDF, "RDF"), other.getElementsByTagNameNS(_RDF, "RDF")
    if not all(roots):
        return None
    _remove(main, lambda name: name == (_NOTE, "HasExtendedXMP"))
    for description in list(roots[1][0].childNodes):
        roots[0][0].appendChild(main.importNode(description, True))
    return _text(main)


def split_extended(packet: bytes, limit: int) -> tuple[bytes, bytes]:
    """Return a packet of at most limit bytes, and an extended one with its largest properties.

    Both are empty where the packet is damaged, or where that is not enough.
    """
    if len(packet) <= limit:
        return packet, b""
    document = _parse(packet)
    roots = document.getElementsByTagNameNS(_RDF, "RDF") if document else []
    if document is None or not roots:
        return b"", b""
    space = minidom.Document()
    moved = space.appendChild(space.createElement("x:xmpmeta"))
    moved.setAttribute("xmlns:x", "adobe:ns:meta/")
    inner = moved.appendChild(space.createElement("rdf:RDF"))
    inner.setAttribute("xmlns:rdf", _RDF)
    left = len(_text(document)) + _POINTER_BYTES
    for description, node in sorted(_properties(roots[0]), key=_length, reverse=True):
        if left <= limit:
            break
        copy = inner.appendChild(space.createElement(description.tagName))
        copy.setAttribute("rdf:about", description.getAttributeNS(_RDF, "about"))
        _declare(copy, description)
        left -= _length((description, node))
        if isinstance(node, minidom.Attr):
            copy.setAttribute(node.name, node.value)
            description.removeAttributeNode(node)
        else:
            copy.appendChild(space.importNode(node, True))
            description.removeChild(node)
    extended = moved.toxml().encode()
    pointer = roots[0].appendChild(document.createElement("rdf:Description"))
    for name, value in (("rdf:about", ""), ("xmlns:rdf", _RDF), ("xmlns:xmpNote", _NOTE)):
        pointer.setAttribute(name, value)
    pointer.setAttribute("xmpNote:HasExtendedXMP", guid_of(extended))
    main = _text(document)
    return (main, extended) if len(main) <= limit else (b"", b"")


def guid_of(extended: bytes) -> str:
    """Return the number by which a packet names its extended part."""
    return hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()


_Owned = tuple[minidom.Element, "minidom.Element | minidom.Attr"]


def _properties(root: minidom.Element) -> list[_Owned]:
    """Return the properties of a packet, each behind the description that holds it."""
    found: list[_Owned] = []
    for description in root.childNodes:
        if isinstance(description, minidom.Element):
            attributes = [
                attribute
                for attribute in description.attributes.values()
                if not attribute.name.startswith(("xmlns", "rdf:"))
            ]
            found += [(description, attribute) for attribute in attributes]
            found += [
                (description, node)
                for node in description.childNodes
                if isinstance(node, minidom.Element)
            ]
    return found


def _length(owned: _Owned) -> int:
    """Return the bytes of a property."""
    node = owned[1]
    text = node.name + node.value if isinstance(node, minidom.Attr) else node.toxml()
    return len(text.encode())


def _declare(copy: minidom.Element, node: Any) -> None:
    """Give a copy the declarations of namespaces from above an element."""
    while isinstance(node, minidom.Element):
        for name, value in node.attributes.items():
            if name.startswith("xmlns:") and not copy.hasAttribute(name):
                copy.setAttribute(name, value)
        node = node.parentNode


def _parse(packet: bytes) -> minidom.Document | None:
    """Return a packet's document; None where it is damaged, very long, or declares entities."""
    text = packet.strip(b"\0 \r\n\t")
    if len(text) > _MAX_BYTES or b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        return None
    try:
        document = minidom.parseString(text)
        document.toxml()  # which a few thousand elements inside one another would not stand
    except (ExpatError, ValueError, LookupError, RecursionError):
        return None
    return document


def _text(document: minidom.Document) -> bytes:
    return "".join(node.toxml() for node in document.childNodes).encode()


def _every(document: minidom.Document) -> Iterable[minidom.Element]:
    return list(document.getElementsByTagName("*"))


def _remove(document: minidom.Document, unwanted: Callable[[Property], bool]) -> bool:
    """Remove properties, be they elements or attributes; return whether there were any."""
    found = False
    for element in _every(document):
        if unwanted((element.namespaceURI or "", element.localName)) and element.parentNode:
            element.parentNode.removeChild(element)
            found = True
            continue
        for attribute in list(element.attributes.values()):
            if unwanted((attribute.namespaceURI or "", attribute.localName or "")):
                element.removeAttributeNode(attribute)
                found = True
    return found


def _points_to_lost_part(name: Property) -> bool:
    """Return whether a property speaks of parts of a file that are never written."""
    space, local = name
    return (
        (space == _CAMERA and local.startswith(("MotionPhoto", "MicroVideo")))
        or name in ((_CONTAINER, "Directory"), (_TERMS, "provenance"))
        or space == _GAIN_MAP
    )


def _holders(document: minidom.Document, name: Property) -> list[minidom.Attr | minidom.Text]:
    """Return the nodes whose data is the value of a simple property."""
    found: list[minidom.Attr | minidom.Text] = []
    for element in _every(document):
        if (element.namespaceURI, element.localName) == name:
            found += [node for node in element.childNodes if isinstance(node, minidom.Text)]
        if attribute := element.getAttributeNodeNS(*name):
            found.append(attribute)
    return found


def _value(node: minidom.Attr | minidom.Text) -> str:
    return node.value if isinstance(node, minidom.Attr) else node.data


def _put(node: minidom.Attr | minidom.Text, value: str) -> None:
    if isinstance(node, minidom.Attr):
        node.value = value
    else:
        node.data = value


def _set(document: minidom.Document, name: Property, value: str) -> bool:
    """Give a property a value where it is there; return whether it had another one."""
    others = [node for node in _holders(document, name) if _value(node) != value]
    for node in others:
        _put(node, value)
    return bool(others)


def _swap(document: minidom.Document, first: Property, second: Property) -> None:
    for one, other in zip(_holders(document, first), _holders(document, second), strict=False):
        value = _value(one)
        _put(one, _value(other))
        _put(other, value)


def _turn_area(document: minidom.Document, area: Callable[[list[int]], list[int]]) -> None:
    for element in document.getElementsByTagNameNS(_EXIF, "SubjectArea"):
        items = [
            node
            for item in element.getElementsByTagNameNS(_RDF, "li")
            for node in item.childNodes
            if isinstance(node, minidom.Text)
        ]
        try:
            turned = area([int(_value(node)) for node in items])
        except ValueError:
            continue
        for node, value in zip(items, turned, strict=True):
            _put(node, str(value))
