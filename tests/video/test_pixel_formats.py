"""The pixel format of a result keeps what the codec can store."""

from __future__ import annotations

import pytest

av = pytest.importorskip("av", reason="the extra video is not installed")

from cmudrn.video.encode import CODECS  # noqa: E402
from cmudrn.video.pixel_formats import lost_of, nearest_format, precision_of  # noqa: E402

EIGHT = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "gray"]
DEEP = [*EIGHT, "yuv420p10le", "yuv422p10le", "yuv444p10le"]


@pytest.mark.parametrize(
    ("own", "codec", "taken", "expected"),
    [
        ("yuv420p", "h264", DEEP, "yuv420p"),
        ("yuvj422p", "h264", DEEP, "yuv422p"),
        ("yuva444p10le", "h264", DEEP, "yuv444p10le"),
        ("uyvy422", "h264", DEEP, "yuv422p"),
        ("nv16", "h264", DEEP, "yuv422p"),
        ("yuv411p", "h264", DEEP, "yuv422p"),
        ("yuv440p", "h264", DEEP, "yuv444p"),
        ("yuv410p", "h264", DEEP, "yuv420p"),
        ("yuv422p12le", "h264", DEEP, "yuv422p10le"),
        ("p010le", "h264", DEEP, "yuv420p10le"),
        ("rgb24", "h264", DEEP, "yuv444p"),
        ("pal8", "h264", DEEP, "yuv444p"),
        ("gbrp10le", "h264", DEEP, "yuv444p10le"),
        ("gray", "vp9", EIGHT[:4], "yuv420p"),
        ("rgb24", "ffv1", [*DEEP, "bgr0", "gbrp10le"], "bgr0"),
        ("rgb48le", "ffv1", [*DEEP, "bgr0", "gbrp10le", "gbrp16le"], "gbrp16le"),
        ("yuv422p10le", "av1", ["yuv420p", "yuv420p10le"], "yuv420p10le"),
        ("yuv420p", "prores", ["yuv422p10le", "yuv444p10le"], "yuv422p10le"),
        ("yuv444p", "prores", ["yuv422p10le", "yuv444p10le"], "yuv444p10le"),
    ],
)
def test_the_nearest_format_is_taken(own: str, codec: str, taken: list[str], expected: str) -> None:
    assert nearest_format(own, codec, taken, odd=False) == expected


def test_odd_sides_take_colours_at_the_whole_resolution() -> None:
    assert nearest_format("yuv420p", "h264", DEEP, odd=True) == "yuv444p"
    assert nearest_format("yuv420p10le", "h264", DEEP, odd=True) == "yuv444p10le"
    assert nearest_format("yuv420p", "ffv1", DEEP, odd=True) == "yuv420p"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("own", ["yuv420p", "yuv411p", "yuv422p12le", "gbrp14le", "pal8", "gray"])
def test_nothing_that_a_codec_stores_is_given_up(own: str, codec: str) -> None:
    taken = [form.name for form in av.Codec(CODECS[codec].encoder, "w").video_formats]
    chosen = nearest_format(own, codec, taken, odd=False)
    assert chosen in taken
    able = [one for one in taken if one.startswith("yuv") and not lost_of(own, one)]
    assert not (able and lost_of(own, chosen))


def test_what_is_lost_is_said() -> None:
    assert lost_of("yuv420p", "yuv444p10le") == ""
    assert lost_of("yuv422p12le", "yuv420p10le") == "10 of 12 bits, colours at a lower resolution"
    assert precision_of("pal8") == precision_of("rgb24")
