"""The installed wheel alone: no torch, no extra, no network."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmudrn.engines import open_engine
from cmudrn.image import read_picture
from cmudrn.models import shipped_models
from cmudrn.restoration import Restorer

SAMPLES = Path(__file__).parents[2] / "samples"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [str(Path(sys.executable).with_name("cmudrn")), *arguments]
    return subprocess.run(line, capture_output=True, text=True)


def test_there_is_no_torch() -> None:
    for heavy in ("torch", "skimage", "fastapi", "ray"):
        assert importlib.util.find_spec(heavy) is None


def test_a_model_ships_undamaged() -> None:
    for model in shipped_models().values():
        assert hashlib.sha256(model.path.read_bytes()).hexdigest() == model.sha256
    assert "cmudrn" in shipped_models()


@pytest.mark.parametrize("name", ["rain", "drizzle", "snow"])
def test_a_sample_is_restored(tmp_path: Path, name: str) -> None:
    source, target = SAMPLES / f"{name}.jpg", tmp_path / f"{name}.png"
    done = command("restore", str(source), "-o", str(target))
    assert done.returncode == 0, done.stderr
    before, after = (read_picture(path).pixels for path in (source, target))
    assert before.shape == after.shape and before.dtype == after.dtype
    # Rain and snow are brighter than what they cover.
    assert after.mean() < before.mean()


COMMANDS = {
    "batch {photos} {out}": "cluster",
    "bench --engine onnx --rounds 1": None,
    "desktop --remove": None,
    "doctor folder:{photos}": None,
    "evaluate cmudrn --data folder:{photos} --weather light-rain": "evaluate",
    "export {out} {out}.onnx": "train",
    "models": None,
    "models --json": None,
    "page {out}": None,
    "parity --side 64 --rounds 1": None,
    "restore {photos} -o {out}": None,
    "restore {photos} -o {out} --score --side-by-side --evidence": None,
    "restore {clip}": "video",
    "serve": "serve",
    "sheet cmudrn {out}.png --photos {photos}": "evaluate",
    "study baselines --run {out}": "train",
    "train cmudrn --into {out}": "train",
    "verify {evidence}": None,
    "watch {photos} --seconds 1": "video",
    "weather rain {photos} {out}": None,
    "weather snow {photos} {out}": None,
}
"""The main path of every command -> the extra that it needs; None works in the base install."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "photos"
    folder.mkdir()
    shutil.copy(SAMPLES / "drizzle.jpg", folder)
    return folder


def test_every_command_is_tried() -> None:
    from cmudrn.cli import app

    known = {
        entry.name or getattr(entry.callback, "__name__", "") for entry in app.registered_commands
    }
    assert known == {line.split()[0] for line in COMMANDS}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_works_or_names_its_extra(tmp_path: Path, photos: Path, line: str) -> None:
    clip, evidence = tmp_path / "clip.mp4", tmp_path / "drizzle.png"
    clip.write_bytes(b"x")
    if "{evidence}" in line:
        source = shutil.copy(photos / "drizzle.jpg", tmp_path)
        assert command("restore", str(source), "-o", str(evidence), "--evidence").returncode == 0
    places = {"photos": photos, "out": tmp_path / "out", "clip": clip, "evidence": evidence}
    done = command(*(word.format(**places) for word in line.split()))
    assert "Traceback" not in done.stderr
    if extra := COMMANDS[line]:
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert f"[{extra}]'" in done.stderr
    else:
        assert done.returncode == 0, done.stderr


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    done = command("restore", str(tmp_path / "none.jpg"), "-o", str(tmp_path / "out.jpg"))
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_fewer_loops_keep_shape_and_type() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    restored = Restorer(open_engine("cmudrn-25k"))(noise, stages=1, recursions=1)
    assert restored.shape == noise.shape and restored.dtype == noise.dtype
