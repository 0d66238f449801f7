"""Files with excessive numbers of parts are refused before any library opens them."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from cmudrn.errors import LimitExceededError
from cmudrn.image import Picture, avif, encode_picture, jpeg, read_picture
from cmudrn.image.containers import Contents
from cmudrn.image.prescan import check_structure

MANY = 200_000


def plain(kind: str) -> bytes:
    rows = np.arange(16, dtype=np.uint8)[:, None, None]
    return encode_picture(Picture(np.repeat(np.repeat(rows, 16, 1), 3, 2)), kind)


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def in_png(inserted: bytes) -> bytes:
    png = plain("png")
    return png[:33] + inserted + png[33:]


def before_end(inserted: bytes) -> bytes:
    png = plain("png")
    return png[:-12] + inserted + png[-12:]


def in_jpeg(inserted: bytes) -> bytes:
    jpeg = plain("jpeg")
    return jpeg[:2] + inserted + jpeg[2:]


def behind_scan(inserted: bytes) -> bytes:
    return plain("jpeg")[:-2] + inserted + b"\xff\xd9"


def in_webp(inserted: bytes) -> bytes:
    webp = plain("webp") + inserted
    return webp[:4] + struct.pack("<I", len(webp) - 8) + webp[8:]


def in_avif(inserted: bytes) -> bytes:
    return plain("avif") + inserted


def avif_with_exif(exif: bytes) -> bytes:
    return avif.with_contents(plain("avif"), Contents({"exif-data": exif}))


def exif_of_one_value(entries: int = 500, size: int = 60_000) -> bytes:
    """Return an EXIF block whose entries all point to the same bytes."""
    table = b"".join(struct.pack("<HHII", 50_000 + n, 7, size, 0) for n in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + table + bytes(4) + bytes(size)


def long_chain(directories: int = 2_000) -> bytes:
    tiff = b"II*\0\x08\0\0\0"
    for number in range(directories):
        tiff += struct.pack("<HI", 0, 8 + 6 * (number + 1) if number < directories - 1 else 0)
    return tiff


def segment(marker: int, body: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


HOSTILE: dict[str, Callable[[], bytes]] = {
    "jpeg of empty comments": lambda: in_jpeg(segment(0xFE) * MANY),
    "jpeg of empty comments and rubbish": lambda: in_jpeg((segment(0xFE) + b"\0") * MANY),
    "jpeg of empty comments and fill bytes": lambda: in_jpeg((segment(0xFE) + b"\xff") * MANY),
    "jpeg of empty profiles": lambda: in_jpeg(segment(0xE2) * MANY),
    "jpeg of tables": lambda: in_jpeg(segment(0xDB, bytes(65)) * MANY),
    "jpeg of comments behind the pixels": lambda: behind_scan(segment(0xFE) * MANY),
    "jpeg of scans": lambda: behind_scan(segment(0xDA, b"\1\1\0\0\0\0") * 1000),
    "jpeg of one value": lambda: in_jpeg(segment(0xE1, b"Exif\0\0" + exif_of_one_value(400))),
    "jpeg of long comments": lambda: in_jpeg(segment(0xFE, bytes(65_000)) * 600),
    "png of empty texts": lambda: in_png(chunk(b"tEXt") * MANY),
    "png of empty texts behind the pixels": lambda: before_end(chunk(b"tEXt") * MANY),
    "png of unknown chunks": lambda: in_png(chunk(b"abCd") * MANY),
    "png of empty pixel chunks": lambda: in_png(chunk(b"IDAT") * MANY),
    "png of one value": lambda: in_png(chunk(b"eXIf", exif_of_one_value())),
    "png of packed text": lambda: in_png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(40 << 20)))),
    "png of packed international text": lambda: in_png(
        chunk(b"iTXt", b"a\0\1\0en\0a\0" + zlib.compress(bytes(40 << 20)))
    ),
    "png of a packed profile": lambda: in_png(
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(40 << 20)))
    ),
    "webp of empty chunks": lambda: in_webp((b"abcd" + bytes(4)) * MANY),
    "webp of one value": lambda: in_webp(
        b"EXIF" + struct.pack("<I", len(exif_of_one_value())) + exif_of_one_value()
    ),
    "avif of empty boxes": lambda: in_avif((bytes(3) + b"\x08free") * MANY),
    "avif of one value": lambda: avif_with_exif(exif_of_one_value()),
    "avif of long metadata": lambda: avif_with_exif(bytes(33 << 20)),
    "tiff of one value": lambda: exif_of_one_value(4000),
    "tiff of directories": long_chain,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_absurd_files_are_refused_at_once(what: str) -> None:
    data = HOSTILE[what]()
    started = time.process_time()
    with pytest.raises(LimitExceededError, match=r"^a\.x has more .* than the limit of .*\.$") as e:
        read_picture(data, name="a.x")
    assert time.process_time() - started < 2
    assert e.value.value > e.value.limit > 0
    assert e.value.path == "a.x"


def test_a_chain_that_closes_itself_ends() -> None:
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HI", 0, 8)
    check_structure(io.BytesIO(tiff), "tiff", len(tiff), "a.tif")


def test_a_marker_across_blocks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "_BLOCK_BYTES", 7)
    for padding in range(16):
        data = in_jpeg(bytes(padding) + segment(0xFE) * 5000)
        with pytest.raises(LimitExceededError):
            check_structure(io.BytesIO(data), "jpeg", len(data), "a.jpg")


@pytest.mark.parametrize("progressive", [False, True])
def test_ordinary_jpegs_pass(progressive: bool) -> None:
    rng = np.random.default_rng(1)
    file = io.BytesIO()
    noise = Pillow.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8))
    profile = rng.bytes(3_000_000)  # 46 segments
    noise.save(file, "JPEG", progressive=progressive, restart_marker_blocks=1, icc_profile=profile)
    check_structure(file, "jpeg", len(file.getvalue()), "a.jpg")


def test_a_large_png_of_small_pixel_chunks_passes() -> None:
    png = plain("png")
    data = png[:33] + chunk(b"IDAT", bytes(8192)) * 10_000 + png[33:]
    check_structure(io.BytesIO(data), "png", len(data), "a.png")


def test_every_sample_passes() -> None:
    for path in sorted(Path(__file__, "../../../samples").resolve().glob("*.jpg")):
        data = path.read_bytes()
        check_structure(io.BytesIO(data), "jpeg", len(data), path.name)
