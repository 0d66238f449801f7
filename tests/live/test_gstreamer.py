"""The GStreamer element restores what the Python interface restores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import cmudrn
from cmudrn.restoration import Sequence, restore_image

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT, FRAMES = 98, 66, 2  # rows of 294 bytes lie 296 apart


def environment(folder: Path) -> dict[str, str]:
    """Return what GStreamer needs, or skip where its Python is missing or another one."""
    launch, python = shutil.which("gst-launch-1.0"), Path("/usr/bin/python3")
    if launch is None or not python.exists():
        pytest.skip("no GStreamer")
    asked = "import sys, gi; gi.require_version('GstVideo', '1.0'); print(*sys.version_info[:2])"
    found = subprocess.run([python, "-c", asked], capture_output=True, text=True)
    if found.stdout.split() != sysconfig.get_python_version().split("."):
        pytest.skip("GStreamer has no Python of this version")
    return {
        **os.environ,
        "GST_PLUGIN_PATH": str(ROOT / "integrations" / "gstreamer"),
        "GST_REGISTRY": str(folder / "registry"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), sysconfig.get_path("platlib")]),
        "PATH": f"/usr/bin:{os.environ['PATH']}",
    }


def test_a_test_source_is_restored_into_a_file(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    size = f"video/x-raw,format=RGB,width={WIDTH},height={HEIGHT}"
    source = f"videotestsrc pattern=snow num-buffers={FRAMES} ! {size}"
    for name, element in (("plain", ""), ("restored", "! cmudrn strength=0.8")):
        line = f"gst-launch-1.0 -q {source} {element} ! filesink location={tmp_path / name}"
        done = subprocess.run(line.split(), env=variables, capture_output=True, text=True)
        if "no element" in done.stderr:
            pytest.skip("GStreamer has no loader of Python elements")
        assert done.returncode == 0, done.stderr
    plain, restored = (frames(tmp_path / name) for name in ("plain", "restored"))
    sequence, restorer = Sequence(), cmudrn.load()
    settings = cmudrn.RestoreSettings(0.8)
    for before, after in zip(plain, restored, strict=True):
        expected = restore_image(restorer, before, settings, sequence=sequence).pixels
        assert np.abs(expected.astype(int) - after).max() <= 1
    assert np.abs(plain.astype(int) - restored).max() > 1


def frames(path: Path) -> np.ndarray:
    rows = np.fromfile(path, np.uint8).reshape(FRAMES, HEIGHT, -1)
    return rows[:, :, : 3 * WIDTH].reshape(FRAMES, HEIGHT, WIDTH, 3)
