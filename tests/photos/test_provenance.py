"""The mark in a restored file, the record beside it, and verification."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.TiffImagePlugin import TiffImageFile

import cmudrn
from cmudrn.errors import CmudrnError, LimitExceededError
from cmudrn.image import Picture, read_picture, write_picture
from cmudrn.photos import PhotoSettings, Provenance, restore_photo
from cmudrn.photos.provenance import (
    ENHANCED,
    NOT_EVIDENCE,
    evidence_path,
    mark_enhanced,
    mark_xmp,
)
from cmudrn.photos.record import Record, read_record
from cmudrn.photos.verify import Limits, verify
from cmudrn.restoration import RestoreSettings

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
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
    said = [entry.get(PHOTOSHOP + "Instructions") for entry in root.iter(RDF + "Description")]
    assert [value for value in said if value] == [NOT_EVIDENCE]
    assert (OTHER in marked) == (OTHER in xmp)
    assert mark_xmp(marked) == marked


def test_the_photographers_instructions_stay() -> None:
    own = (
        b'<rdf:Description rdf:about="" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" '
        b'photoshop:Instructions="embargo until noon"/>'
    )
    marked = mark_xmp(OPEN + b">" + own + b"</rdf:RDF></x:xmpmeta>")
    assert own in marked and marked.count(b"photoshop:Instructions") == 1 and ENHANCED in marked


def test_xmp_that_cannot_be_marked_is_refused() -> None:
    with pytest.raises(CmudrnError, match="XMP"):
        mark_xmp("<x:xmpmeta>".encode("utf-16"))


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff", "webp"])
def test_the_mark_reaches_the_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / "a"
    write_picture(mark_enhanced(Picture(np.zeros((4, 4, 3), np.uint8))), path, format=format)
    written = Pillow.open(path)
    written.load()
    if isinstance(written, TiffImageFile):
        assert ENHANCED in written.tag_v2[700]
    else:
        assert format != "tiff" and ENHANCED in written.info["xmp"]


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
    restorer = cmudrn.load(model, engine="onnx", threads=1)
    settings = PhotoSettings(RestoreSettings(0.5), provenance=provenance)
    restore_photo(restorer, source, tmp_path / "out" / "a.jpg", settings)
    return tmp_path / "out" / "a.jpg"


def check(restored: Path, source: Path | None = None) -> dict[str, str]:
    """Verify with the input and model that the fixture made; return what is not as recorded."""
    folder = restored.parent.parent
    checks = verify(
        restored, source or folder / "in" / "a.jpg", str(folder / "models" / "tiny.onnx")
    )
    assert [one.subject for one in checks] == ["output", "input", "model", "re-run"]
    return {one.subject: one.finding for one in checks if not one.ok}


def record_of(restored: Path) -> Record:
    return read_record(evidence_path(restored))


def test_the_record_says_what_happened(restored: Path, tiny_model: Path) -> None:
    record = record_of(restored)
    assert record.statement == NOT_EVIDENCE
    source = restored.parent.parent / "in" / "a.jpg"
    for part, path in ((record.input, source), (record.output, restored)):
        assert part.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.model.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert record.input.path == "../in/a.jpg"
    assert record.settings.strength == 0.5
    assert (record.settings.stages, record.settings.recursions) == (2, 2)
    assert record.arguments == ("restore", "a.jpg")
    assert record.program.version == cmudrn.__version__
    assert (record.machine.cores or 0) >= 1


def test_made_again_it_has_the_same_bytes(restored: Path) -> None:
    assert check(restored) == {}


def test_the_input_may_move(restored: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(tmp_path / "in", tmp_path / "elsewhere"))
    assert set(check(restored)) == {"input", "re-run"}
    assert check(restored, moved / "a.jpg") == {}
    assert check(restored, moved) == {}  # a folder that holds it under its name


def finding_of(restored: Path, subject: str) -> tuple[bool, str]:
    folder = restored.parent.parent
    model = str(folder / "models" / "tiny.onnx")
    (found,) = (one for one in verify(restored, folder / "in", model) if one.subject == subject)
    return found.ok, found.finding


def test_a_changed_output_is_noticed(restored: Path) -> None:
    restored.write_bytes(restored.read_bytes() + b"\0")
    assert set(check(restored)) == {"output"}
    ok, finding = finding_of(restored, "re-run")
    assert ok and "gives the bytes of the record; the file was changed" in finding


def test_a_retouched_output_is_noticed(restored: Path) -> None:
    pixels = np.asarray(Pillow.open(restored)).copy()
    pixels[0, 0] ^= 64
    Pillow.fromarray(pixels).save(restored)
    assert set(check(restored)) == {"output"}
    ok, finding = finding_of(restored, "re-run")
    assert ok and "the file was changed: pixels differ by at most" in finding


def change_record(restored: Path, part: str, key: str, value: object) -> None:
    record = json.loads(evidence_path(restored).read_text())
    record[part][key] = value
    evidence_path(restored).write_text(json.dumps(record))


def test_a_record_of_other_bytes_is_told_from_a_changed_file(restored: Path) -> None:
    change_record(restored, "output", "sha256", "0" * 64)
    assert check(restored)["re-run"] == "gives the file's bytes, not the record's"
    change_record(restored, "settings", "strength", 0.25)
    assert "gives other bytes than record and file: pixels" in check(restored)["re-run"]


def test_a_model_that_is_named_is_run_wherever_the_record_has_it(restored: Path) -> None:
    model = str(restored.parent.parent / "models" / "tiny.onnx")
    change_record(restored, "model", "path", model)
    assert check(restored) == {}


@pytest.mark.parametrize(
    ("format", "made_with", "change", "finding"),
    [
        ("png", "avx2", 0, ""),
        ("png", "avx2", 1, ""),
        ("png", "avx2", 2, "at most 2/255, and 1/255 is promised"),
        ("png", "", 1, "gives other bytes"),
        ("jpeg", "avx2", 1, ""),
        ("jpeg", "avx2", 60, "and 8/255 is promised"),
        ("jpeg", "", 1, "gives other bytes"),
        ("avif", "avx2", 2, ""),
        ("avif", "avx2", 60, "and 8/255 is promised"),
    ],
)
def test_another_instruction_set_has_a_tolerance_and_the_same_one_has_none(
    restored: Path, format: str, made_with: str, change: int, finding: str
) -> None:
    folder = restored.parent.parent
    model = folder / "models" / "tiny.onnx"
    provenance = Provenance(str(model), "onnx", 1, ())
    settings = PhotoSettings(format=format, quality=100, provenance=provenance)
    target = folder / "out" / f"b.{format}"
    restorer = cmudrn.load(model, engine="onnx", threads=1)
    restore_photo(restorer, folder / "in" / "a.jpg", target, settings)
    pixels = (picture := read_picture(target)).pixels.astype(int)
    pixels[5:13, 6:14] += np.where(pixels[5:13, 6:14] > 100, -change, change)
    if change:
        write_picture(replace(picture, pixels=pixels.astype(np.uint8)), target, quality=100)
    record = json.loads(evidence_path(target).read_text())
    record["settings"]["instruction_set"] = made_with
    record["output"]["sha256"] = hashlib.sha256(target.read_bytes()).hexdigest()
    evidence_path(target).write_text(json.dumps(record))
    wrong = check(target)
    assert set(wrong) == ({"re-run"} if finding else set())
    assert finding in wrong.get("re-run", "")


def test_a_changed_input_is_noticed(restored: Path, tmp_path: Path) -> None:
    with open(tmp_path / "in" / "a.jpg", "ab") as file:
        file.write(b"\0")
    assert set(check(restored)) == {"input", "re-run"}


def test_a_changed_model_is_noticed_and_not_run(restored: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / "tiny.onnx").write_bytes(b"something else")
    assert set(check(restored)) == {"model", "re-run"}


def test_an_input_outside_the_folder_of_the_record_is_not_looked_at(restored: Path) -> None:
    input_, model = (one for one in verify(restored) if one.subject in ("input", "model"))
    assert not input_.ok and "outside" in input_.finding
    assert not model.ok and "not a shipped model" in model.finding


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices have no names there")
@pytest.mark.parametrize("kind", ["device", "pipe", "link to a device", "link out", "folder"])
def test_a_record_cannot_have_other_things_read(restored: Path, tmp_path: Path, kind: str) -> None:
    place = restored.with_name("thing")
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    named = {"device": "/dev/zero"}.get(kind, "thing")
    match kind:
        case "pipe":
            os.mkfifo(place)
        case "link to a device":
            place.symlink_to("/dev/zero")
        case "link out":
            place.symlink_to(secret)
        case "folder":
            place.mkdir()
    record = json.loads(evidence_path(restored).read_text())
    record["input"] |= {"path": named, "sha256": hashlib.sha256(b"secret").hexdigest()}
    evidence_path(restored).write_text(json.dumps(record))
    (finding,) = [one for one in verify(restored) if one.subject == "input"]
    assert not finding.ok


@pytest.mark.skipif(os.name != "posix", reason="pipes have no names there")
@pytest.mark.parametrize("place", ["output", "record"])
def test_pipes_in_place_of_output_and_record(restored: Path, place: str) -> None:
    path = restored if place == "output" else evidence_path(restored)
    path.unlink()
    os.mkfifo(path)
    if place == "output":
        assert "output" in check(restored)
    else:
        with pytest.raises(CmudrnError, match="is not a file"):
            verify(restored)


def test_limits_hold_for_what_a_record_names(restored: Path, tmp_path: Path) -> None:
    source, model = tmp_path / "in" / "a.jpg", str(tmp_path / "models" / "tiny.onnx")
    small = Limits(max_bytes=source.stat().st_size - 1)
    findings = {one.subject: one for one in verify(restored, source, model, small)}
    assert not findings["input"].ok and "more than the limit" in findings["input"].finding
    with pytest.raises(LimitExceededError, match="pixels"):
        verify(restored, source, model, Limits(max_pixels=100))


def test_early_records_are_understood(restored: Path) -> None:
    record = json.loads(evidence_path(restored).read_text())
    record["settings"]["restraint"] = record["settings"].pop("change_gating")
    evidence_path(restored).write_text(json.dumps(record))
    assert record_of(restored).settings.change_gating is True
    assert check(restored) == {}


def test_a_huge_record_is_not_read(restored: Path) -> None:
    with open(evidence_path(restored), "ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(LimitExceededError):
        verify(restored)


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


def test_16_bit_tiff_with_layers_and_record(tmp_path: Path, tiny_model: Path) -> None:
    deep = np.random.default_rng(1).integers(0, 65_536, (20, 30, 3), np.uint16)
    write_picture(Picture(deep), tmp_path / "a.tif")
    settings = PhotoSettings(RestoreSettings(layers=True), provenance=Provenance(str(tiny_model)))
    restorer = cmudrn.load(tiny_model, precision="fp32")
    done = restore_photo(restorer, tmp_path / "a.tif", tmp_path / "b.tif", settings)
    assert set(done.layers) == {"rain", "snow", "fused"}
    assert all(one.ok for one in verify(tmp_path / "b.tif", model=str(tiny_model)))
    marked = read_picture(tmp_path / "b.tif").metadata["xmp-data"]
    assert isinstance(marked, bytes) and ENHANCED in marked


def test_through_a_link_to_the_folder(restored: Path, tmp_path: Path, tiny_model: Path) -> None:
    deep, link = tmp_path / "real" / "deep" / "er", tmp_path / "link"
    deep.mkdir(parents=True)
    link.symlink_to(deep)
    shutil.copy(tmp_path / "in" / "a.jpg", deep / "a.jpg")
    settings = PhotoSettings(provenance=Provenance(str(tiny_model)))
    restorer = cmudrn.load(tiny_model, precision="fp32")
    restore_photo(restorer, deep / "a.jpg", link / "b.jpg", settings)
    for folder in (link, deep):
        assert all(one.ok for one in verify(folder / "b.jpg", model=str(tiny_model)))


def test_a_record_is_refused_where_nobody_could_verify_it(tmp_path: Path, tiny_model: Path) -> None:
    Pillow.new("RGB", (16, 16)).save(tmp_path / "a.png")
    restorer = cmudrn.load(tiny_model, engine="onnx")
    restorer.engine.precision = "bf16"
    settings = PhotoSettings(provenance=Provenance(str(tiny_model)))
    with pytest.raises(CmudrnError, match="fp32"):
        restore_photo(restorer, tmp_path / "a.png", tmp_path / "b.png", settings)
    assert not (tmp_path / "b.png").exists()


def test_a_lost_output_is_noticed(restored: Path) -> None:
    restored.unlink()
    assert set(check(restored)) == {"output", "re-run"}


@pytest.mark.parametrize(
    "part, key, value",
    [
        ("input", "path", "a\0.jpg"),
        ("settings", "threads", 1.5),
        ("settings", "threads", 100_000),
        ("settings", "stages", 1.5),
        ("settings", "stages", 10**30),
        ("settings", "strength", "all"),
        ("settings", "stages", 0),
        ("settings", "recursions", 10**6),
        ("settings", "tile_pixels", "all"),
        ("settings", "tile_pixels", 10**12),
        ("settings", "engine", ["native"]),
        ("output", "sha256", None),
        ("model", "shipped", "yes"),
        ("program", "libraries", {"numpy": 1}),
    ],
)
def test_odd_values_in_a_record(restored: Path, part: str, key: str, value: object) -> None:
    change_record(restored, part, key, value)
    folder = restored.parent.parent
    try:
        checks = verify(restored, folder / "in" / "a.jpg", str(folder / "models" / "tiny.onnx"))
    except CmudrnError as error:
        assert len(str(error).splitlines()) == 1
    else:  # a path alone is data: the input was named
        assert (part, key) == ("input", "path") and all(one.ok for one in checks)


def test_a_record_nested_too_deeply(restored: Path) -> None:
    evidence_path(restored).write_text("[" * 100_000)
    with pytest.raises(CmudrnError, match="damaged"):
        verify(restored)
