"""The installed wheel alone: no torch, no extra, no network."""

from __future__ import annotations

import hashlib
import importlib.util
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


def test_training_says_what_is_missing(tmp_path: Path) -> None:
    done = command("train", "cmudrn", "--into", str(tmp_path / "run"))
    assert done.returncode != 0 and "cmudrn[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    done = command("restore", str(tmp_path / "none.jpg"), "-o", str(tmp_path / "out.jpg"))
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_fewer_loops_keep_shape_and_type() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    restored = Restorer(open_engine("cmudrn"))(noise, stages=1, recursions=1)
    assert restored.shape == noise.shape and restored.dtype == noise.dtype
