"""Valid files of every kind, made by other libraries, come out with their pixels and metadata."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageCms
from support.valid_files import SUFFIXES as MADE
from support.valid_files import check_files, describe, is_storage

from cmudrn.image import encode_picture, read_picture, unsupported_features

COUNT = 200

WRITTEN = {
    "IFD0": "Make=A Model=B Artist=C Copyright=D XPTitle=E Rating=4 DocumentName=F Software=G "
    "ProcessingSoftware=H PageName=I WhitePoint=0.3 GeoTiffAsciiParams=J",
    "ExifIFD": "ExposureTime=1/50 ISO=200 UserComment=K LensModel=L SerialNumber=9 ImageUniqueID=M",
    "GPS": "GPSLatitude=50 GPSLatitudeRef=N GPSAltitude=10",
    "XMP": "Title=N Marked=true City=O Exposure2012=1 DocumentID=P RegionName=Q RegionType=Face",
    "IPTC": "Keywords=R Caption-Abstract=S By-line=T",
    "Photoshop": "CopyrightFlag=True URL=http://a GlobalAngle=30",
    "JFIF": "XResolution=300 YResolution=200 ResolutionUnit=2",
    "PNG": "Author=U Title=V",
    "PNG-pHYs": "PixelsPerUnitX=1000 PixelsPerUnitY=500",
}
"""Group of tags -> what exiftool is told to write, where the format has the group."""

WORDS = {
    "ICC": "ICC",
    "XMP": "XMP",
    "IPTC": "IPTC",
    "Photoshop": "Photoshop",
    "PNG": "PNG text",
    "IFD1": "thumbnail",
}
"""Group -> what names its loss; EXIF, or numbers of tags, name that of the other groups."""

SUFFIXES = {
    "jpeg": ".jpg", "png": ".png", "tiff": ".tif", "webp": ".webp", "avif": ".avif", "bmp": ".bmp"
}  # fmt: skip
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="exiftool is not installed"
)


@needs_exiftool
def test_nothing_is_lost_without_a_note(tmp_path: Path) -> None:
    found = check_files(range(COUNT), tmp_path)
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert {Path(name).suffix for name in found} == set(MADE.values())


def tagged(folder: Path, format: str) -> Path:
    """Return a picture with what exiftool writes into its format."""
    stream = io.BytesIO()
    image = Pillow.linear_gradient("L").resize((64, 40)).convert("RGB")
    image.resize((16, 10)).save(stream, "JPEG")
    (folder / "small").write_bytes(stream.getvalue())
    path = folder / f"a{SUFFIXES[format]}"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(path, format.upper(), icc_profile=profile)
    tags = [f"-{group}:{tag}" for group, text in WRITTEN.items() for tag in text.split()]
    command = ["exiftool", "-q", "-q", "-m", "-n", "-overwrite_original", *tags, "-Comment=W"]
    subprocess.run([*command, f"-ThumbnailImage<={folder / 'small'}", path], check=True)
    return path


@needs_exiftool
@pytest.mark.parametrize("source", ["jpeg", "png", "tiff", "webp", "avif"])
def test_every_group_of_tags_is_kept_or_named(tmp_path: Path, source: str) -> None:
    path = tagged(tmp_path, source)
    picture = read_picture(path)
    (tmp_path / "after").mkdir()
    for format, suffix in SUFFIXES.items():
        (tmp_path / "after" / f"b{suffix}").write_bytes(encode_picture(picture, format))
    before, after = describe(tmp_path)[path.name], describe(tmp_path / "after")
    assert sum(not is_storage(key) for key in before) > 20
    for format, suffix in SUFFIXES.items():
        notes = " ".join(picture.notes + unsupported_features(picture, format))
        kept = {key.partition(":")[2] for key in after[f"b{suffix}"]}
        for key in before:
            group, _, tag = key.partition(":")
            if is_storage(key) or tag in kept or "Resolution" in tag or "PixelsPer" in tag:
                continue
            if key == "PNG:ProfileName":
                continue
            word = WORDS.get(group.partition("-")[0].partition("_")[0], "EXIF")
            named = word in notes or ("TIFF tags" in notes and group == "IFD0")
            assert named or (word == "thumbnail" and "without EXIF data" in notes), (format, key)
