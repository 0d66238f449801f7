"""Valid files of every kind, made by other libraries, come out with their pixels and metadata."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.valid_files import check_files

COUNT = 200


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_nothing_is_lost_without_a_note(tmp_path: Path) -> None:
    found = check_files(range(COUNT), tmp_path)
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert {Path(name).suffix for name in found} == {".jpg", ".png", ".tif", ".webp", ".bmp"}
