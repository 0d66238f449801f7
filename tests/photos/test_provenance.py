"""The mark inside a restored file, the record beside it, and making it again."""

from __future__ import annotations

import hashlib
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import cmudrn
from cmudrn import CmudrnError
from cmudrn.image import MAX_BYTES, MAX_PIXELS, Picture, read_bytes, read_picture, write_picture
from cmudrn.photos.provenance import (
    ENHANCED,
    Provenance,
    evidence_path,
    mark_enhanced,
    mark_xmp,
    read_record,
)
from cmudrn.photos.restore_photo import Options, restore_file
from cmudrn.photos.verify import verify

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
OPEN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
)
OTHER = b'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:x="kept"/>'
NAMESPACE = b'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'


@pytest.mark.parametrize(
    "xmp",
    [
        b"",
        OPEN + b"/></x:xmpmeta>",
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>',
        OPEN + b">" + OTHER + b"</rdf:RDF></x:xmpmeta>",
        OPEN + b'><rdf:Description rdf:about="" ' + NAMESPACE + b" Iptc4xmpExt:DigitalSourceType"
        b'="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"/></rdf:RDF></x:xmpmeta>',
        OPEN + b'><rdf:Description rdf:about="" ' + NAMESPACE + b"><Iptc4xmpExt:DigitalSourceType>"
        b"x</Iptc4xmpExt:DigitalSourceType></rdf:Description></rdf:RDF></x:xmpmeta>",
    ],
)
def test_the_mark_is_there_once_and_the_rest_is_kept(xmp: bytes) -> None:
    marked = mark_xmp(xmp)
    root = ElementTree.fromstring(marked)
    found = [
        entry.get(IPTC + "DigitalSourceType") or entry.findtext(IPTC + "DigitalSourceType")
        for entry in root.iter(RDF + "Description")
    ]
    assert [value for value in found if value] == [ENHANCED.decode()]
    assert (OTHER in marked) == (OTHER in xmp)
    assert mark_xmp(marked) == marked


def test_xmp_that_cannot_be_marked_is_refused() -> None:
    with pytest.raises(CmudrnError, match="XMP"):
        mark_xmp("<x:xmpmeta>".encode("utf-16"))


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp"])
def test_the_mark_reaches_the_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / "a"
    write_picture(mark_enhanced(Picture(np.zeros((4, 4, 3), np.uint8))), path, format=format)
    written = Pillow.open(path)
    written.load()
    assert ENHANCED in (written.tag_v2[700] if format == "tiff" else written.info["xmp"])


@pytest.fixture
def restored(tmp_path: Path, tiny_model: Path) -> Path:
    """A restored file with its record; input and model beside it in folders of their own."""
    source, model = tmp_path / "in" / "a.jpg", tmp_path / "models" / "tiny.onnx"
    for path in (source, model):
        path.parent.mkdir()
    photo = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    Pillow.fromarray(photo).save(source)
    shutil.copy(tiny_model, model)
    provenance = Provenance(str(model), "onnx", 1, ("restore", "a.jpg"))
    options = Options(cmudrn.load(model, engine="onnx", threads=1), 0.5, evidence=provenance)
    restore_file(source, tmp_path / "out" / "a.jpg", options)
    return tmp_path / "out" / "a.jpg"


def findings(restored: Path, **where: object) -> dict[str, bool]:
    return {check.subject: check.ok for check in verify(restored, **where)}


GOOD = {"output": True, "input": True, "model": True, "re-run": True}


def test_the_record_says_what_happened(restored: Path, tiny_model: Path) -> None:
    record = read_record(restored)
    source = restored.parent.parent / "in" / "a.jpg"
    for part, path in (("input", source), ("output", restored), ("model", tiny_model)):
        assert record[part]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["input"]["path"] == "../in/a.jpg"
    assert record["settings"]["strength"] == 0.5
    assert (record["settings"]["stages"], record["settings"]["recursions"]) == (2, 2)
    assert record["arguments"] == ["restore", "a.jpg"]
    assert record["program"]["version"] == cmudrn.__version__
    assert record["machine"]["cores"] >= 1


def test_made_again_it_has_the_same_bytes(restored: Path) -> None:
    assert findings(restored) == GOOD


def test_the_whole_folder_may_move(restored: Path, tmp_path: Path) -> None:
    moved = shutil.move(tmp_path / "in", tmp_path / "elsewhere")
    assert findings(restored)["input"] is False
    assert findings(restored, source=Path(moved) / "a.jpg") == GOOD


def test_a_changed_output_is_noticed(restored: Path) -> None:
    restored.write_bytes(restored.read_bytes() + b"\0")
    assert findings(restored) == GOOD | {"output": False, "re-run": False}


def test_a_retouched_output_is_noticed(restored: Path) -> None:
    pixels = np.asarray(Pillow.open(restored)).copy()
    pixels[0, 0] ^= 64
    Pillow.fromarray(pixels).save(restored)
    (finding,) = [check.finding for check in verify(restored) if check.subject == "re-run"]
    assert "pixels differ by at most" in finding


def test_a_changed_input_is_noticed(restored: Path, tmp_path: Path) -> None:
    with open(tmp_path / "in" / "a.jpg", "ab") as file:
        file.write(b"\0")
    assert findings(restored) == GOOD | {"input": False, "re-run": False}


def test_a_changed_model_is_noticed_and_not_run(restored: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "tiny.onnx").write_bytes(b"something else")
    assert findings(restored) == GOOD | {"model": False, "re-run": False}


def test_damaged_records(restored: Path) -> None:
    path = evidence_path(restored)
    record = json.loads(path.read_text())
    for text, sentence in [
        ("{", "damaged"),
        ("[]", "damaged"),
        (json.dumps(record | {"format": 2}), "format 2"),
        (json.dumps(record | {"settings": []}), "damaged"),
        (json.dumps(record | {"model": {}}), "damaged"),
    ]:
        path.write_text(text)
        with pytest.raises(CmudrnError, match=sentence):
            verify(restored)
    path.unlink()
    with pytest.raises(CmudrnError, match="There is no record"):
        verify(restored)


def test_16_bit_tiff_with_layers_and_evidence(tmp_path: Path, tiny_model: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65_536, (20, 30, 3), np.uint16)
    write_picture(Picture(deep), tmp_path / "a.tif")
    options = Options(
        cmudrn.load(tiny_model), layers=True, evidence=Provenance(str(tiny_model)),
        max_pixels=MAX_PIXELS,
    )  # fmt: skip
    record = restore_file(tmp_path / "a.tif", tmp_path / "b.tif", options)
    assert set(record["layers"]) == {"rain", "snow", "fused"}
    assert all(check.ok for check in verify(tmp_path / "b.tif"))
    assert ENHANCED in read_picture(tmp_path / "b.tif").metadata["xmp-data"]


def test_through_a_link_to_the_folder(restored: Path, tmp_path: Path, tiny_model: Path) -> None:
    deep, link = tmp_path / "real" / "deep" / "er", tmp_path / "link"
    deep.mkdir(parents=True)
    link.symlink_to(deep)
    options = Options(cmudrn.load(tiny_model), evidence=Provenance(str(tiny_model)))
    restore_file(tmp_path / "in" / "a.jpg", link / "b.jpg", options)
    assert findings(link / "b.jpg") == findings(deep / "b.jpg") == GOOD


def test_what_was_let_pass_once_passes_again(
    restored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read as if all files were larger by the usual limits: --max-pixels was given then."""

    def read_larger(source: bytes, *, max_pixels: int, max_bytes: int, name: str) -> Picture:
        limits = {"max_pixels": max_pixels - MAX_PIXELS, "max_bytes": max_bytes - MAX_BYTES}
        return read_picture(source, **limits, name=name)

    def read_larger_bytes(source: Path, max_bytes: int = MAX_BYTES) -> bytes:
        return read_bytes(source, max_bytes - MAX_BYTES)

    monkeypatch.setattr("cmudrn.photos.restore_photo.read_picture", read_larger)
    monkeypatch.setattr("cmudrn.photos.verify.read_bytes", read_larger_bytes)
    assert findings(restored) == GOOD


def test_a_lost_output_is_noticed(restored: Path) -> None:
    restored.unlink()
    assert findings(restored) == GOOD | {"output": False, "re-run": False}


@pytest.mark.parametrize(
    "part, key, value",
    [
        ("input", "path", "a\0.jpg"),
        ("settings", "threads", 1.5),
        ("settings", "threads", 100_000),
        ("settings", "stages", 1.5),
        ("settings", "stages", 10**30),
        ("settings", "strength", "all"),
        ("settings", "tile_pixels", "all"),
    ],
)
def test_odd_values_in_a_record(restored: Path, part: str, key: str, value: object) -> None:
    record = json.loads(evidence_path(restored).read_text())
    record[part][key] = value
    evidence_path(restored).write_text(json.dumps(record))
    with pytest.raises(CmudrnError) as refusal:
        verify(restored)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_record_nested_too_deeply(restored: Path) -> None:
    evidence_path(restored).write_text("[" * 100_000)
    with pytest.raises(CmudrnError, match="damaged"):
        verify(restored)
