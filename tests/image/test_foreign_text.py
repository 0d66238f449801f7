"""What a file says in words is never an error, and never printed raw."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from cmudrn.errors import CmudrnError
from cmudrn.image import Picture, encode_picture, read_picture
from cmudrn.image.vips import field_names, pyvips, reason

ESCAPES = b"\x1b]0;title\x07 \x9b31m \xff\xfe"


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def png(*chunks: bytes) -> bytes:
    plain = encode_picture(Picture(np.zeros((16, 16, 3), np.uint8)), "png")
    return plain[:33] + b"".join(chunks) + plain[33:]


PROFILE = zlib.compress(bytes(range(200)) * 2)
FILES = {
    "a keyword in Latin-1": png(chunk(b"tEXt", "Größe\0groß".encode("latin-1"))),
    "a keyword of escapes": png(chunk(b"tEXt", ESCAPES + b"\0a")),
    "a text of escapes": png(chunk(b"tEXt", b"Comment\0" + ESCAPES)),
    "an international text that is none": png(chunk(b"iTXt", b"Comment\0\0\0\0\0" + ESCAPES)),
    "a bad profile named by escapes": png(chunk(b"iCCP", ESCAPES + b"\0\0" + PROFILE)),
    "thousands of bad chunks": png(*[chunk(b"tIME", b"1")] * 4000),
}


@pytest.mark.parametrize("what", FILES)
def test_words_in_a_file_are_not_printed(
    what: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert read_picture(FILES[what]).pixels.shape == (16, 16, 3)
    assert capfd.readouterr() == ("", "") and caplog.records == []


@pytest.mark.parametrize("what", FILES)
def test_what_is_wrong_is_told_in_words_that_print(what: str) -> None:
    with pytest.raises(CmudrnError) as caught:
        read_picture(FILES[what][:-40], name="a.png")
    assert str(caught.value).isprintable()


def test_names_that_are_no_text_are_left_out() -> None:
    data = FILES["a keyword in Latin-1"]
    image = pyvips.Image.pngload_source(pyvips.Source.new_from_memory(data))
    assert {"width", "height", "bands"} < field_names(image)
    with pytest.raises(UnicodeDecodeError):  # once pyvips can read them, so can we
        image.get_fields()


def test_a_reason_prints() -> None:
    assert reason(pyvips.Error("x", "a\x1b[2Jb.\nc")) == "a[2Jb"
    assert reason(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")).isprintable()
