"""One image file restored into another, completely or not at all."""

from __future__ import annotations

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
