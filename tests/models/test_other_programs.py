"""The recipes of docs/other-programs.md give the picture that `cmudrn restore` gives."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from PIL import Image

import cmudrn
from cmudrn.models import shipped_models
from cmudrn.models.plain_export import export_plain

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "other-programs.md").read_text()
MODELS = list(shipped_models())[:2]


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def ffmpeg_with_openvino() -> str:
    """Return an FFmpeg that has the back end, or skip: Debian builds none."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("no FFmpeg")
    asked = [program, "-hide_banner", "-h", "filter=dnn_processing"]
    if b"openvino" not in subprocess.run(asked, capture_output=True).stdout:
        pytest.skip("no FFmpeg with the OpenVINO back end")
    return program


@pytest.fixture(params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder with photo.jpg, of odd size, and plain.onnx."""
    with Image.open(ROOT / "samples" / "rain.jpg") as photo:
        photo.crop((100, 100, 341, 287)).save(tmp_path / "photo.jpg", quality=95)
    with Image.open(tmp_path / "photo.jpg") as photo:  # decoders of JPEG differ
        photo.save(tmp_path / "photo.png")
    export_plain(request.param, tmp_path / "plain.onnx")
    export_plain(request.param, tmp_path / "frame.onnx", size=(187, 241))
    image = cmudrn.read_image(tmp_path / "photo.png")
    restorer = cmudrn.load(request.param, engine="onnx", threads=1, change_gating=False)
    np.save(tmp_path / "expected.npy", restorer(image).clip(0, 1))
    return tmp_path


def difference(folder: Path) -> float:
    """Return the largest difference of restored.png and the program's result, in 1/255."""
    with Image.open(folder / "restored.png") as restored:
        found = np.asarray(restored.convert("RGB"), np.float32)
    return float(np.abs(found - 255 * np.load(folder / "expected.npy")).max())


@pytest.mark.parametrize("host", ["ONNX Runtime", "OpenVINO"])
def test_the_code_of_the_page_restores(host: str, folder: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", section(host), re.DOTALL)
    assert len([line for line in block.splitlines() if line]) <= 10
    run = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert difference(folder) <= 1


def test_the_file_of_the_page_asks_openvino_for_float32(tmp_path: Path) -> None:
    (block,) = re.findall(r"```xml\n(.*?)```", section("FFmpeg"), re.DOTALL)
    file = tmp_path / "plugins.xml"
    file.write_text(block)
    chosen = openvino.Core(str(file)).get_property("CPU", "INFERENCE_PRECISION_HINT")
    assert chosen == openvino.Type.f32


def test_the_line_for_ffmpeg_restores(folder: Path) -> None:
    program = ffmpeg_with_openvino()
    lines = section("FFmpeg").replace("\\\n", " ")
    line = next(one for one in lines.splitlines() if "dnn_processing" in one and "photo" in one)
    command = line.strip().replace("ffmpeg", program, 1)
    run = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    # Without the page's plugins.xml OpenVINO may take bfloat16, and each of many layers rounds.
    chosen = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT")
    assert difference(folder) <= (1 if chosen == openvino.Type.f32 else 8)
