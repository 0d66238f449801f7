"""One image file restored into another, completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

import cmudrn
from cmudrn.errors import TargetError
from cmudrn.photos import PhotoSettings, Provenance, restore_photo, result_paths
from cmudrn.restoration import Restorer, RestoreSettings


@pytest.fixture
def restorer(tiny_model: Path) -> Restorer:
    return cmudrn.load(tiny_model, engine="onnx", threads=1)


@pytest.fixture
def settings(tiny_model: Path) -> PhotoSettings:
    return PhotoSettings(RestoreSettings(layers=True), provenance=Provenance(str(tiny_model)))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_result_paths_are_the_files_that_are_written(
    source: Path, restorer: Restorer, settings: PhotoSettings
) -> None:
    target = source.with_name("b.png")
    restore_photo(restorer, source, target, settings)
    assert sorted(source.parent.iterdir()) == sorted(
        [source, *result_paths(target, settings, restorer.info.tasks)]
    )


def test_a_disk_full_at_any_file_leaves_none(
    source: Path, restorer: Restorer, settings: PhotoSettings
) -> None:
    """Limit files to a size that the result still fits, and a layer or the record does not."""
    resource = pytest.importorskip("resource", reason="the limits of a process are POSIX")
    target = source.with_name("b.png")
    restore_photo(restorer, source, target, settings)
    sizes = {
        path: path.stat().st_size for path in result_paths(target, settings, restorer.info.tasks)
    }
    for path in sizes:
        path.unlink()
    assert sizes[target] < max(sizes.values())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[target], hard))
    try:
        with pytest.raises(TargetError, match=r"Cannot write .*b.removed-.*: File too large."):
            restore_photo(restorer, source, target, settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("name", ["b.gif", "b", "b.mp4", "b.xyz"])
def test_a_name_of_an_unknown_kind_is_refused(source: Path, restorer: Restorer, name: str) -> None:
    with pytest.raises(TargetError, match="known suffix"):
        restore_photo(restorer, source, source.with_name(name))
    with pytest.raises(TargetError, match="known suffix"):
        cmudrn.restore_file(source, source.with_name(name), restorer=restorer)
    assert list(source.parent.iterdir()) == [source]


def test_a_file_of_the_wrong_name_stays_what_it_is(source: Path, restorer: Restorer) -> None:
    for name in ("a.jpg", "a"):
        named = source.rename(source.with_name(name))
        target = named.with_name(f"b{named.suffix}")
        restore_photo(restorer, named, target)
        assert target.read_bytes().startswith(b"\x89PNG")
        source = named


@pytest.mark.skipif(os.name != "posix", reason="links and modes are those of POSIX")
def test_what_overwriting_does_to_links_modes_and_times(source: Path, restorer: Restorer) -> None:
    folder = source.parent
    real, link, hard = folder / "real.png", folder / "link.png", folder / "hard.png"
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(real.name)
    hard.hardlink_to(real)
    os.utime(source, (1e9, 1e9))
    with pytest.raises(TargetError, match="exists already"):
        restore_photo(restorer, source, link)
    assert real.read_bytes() == b"old"
    restore_photo(restorer, source, link, PhotoSettings(overwrite=True))
    assert link.is_symlink() and real.read_bytes().startswith(b"\x89PNG")
    assert real.stat().st_mode & 0o777 == 0o640
    assert hard.read_bytes() == b"old"
    assert real.stat().st_mtime > 1e9 and source.stat().st_mtime == 1e9
