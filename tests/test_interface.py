"""The Python interface at the top of the package."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import cmudrn
from cmudrn.engines.native import instruction_sets
from cmudrn.errors import CmudrnError, ImageValueError, InvalidSettingError, TargetError
from cmudrn.restoration import Restorer
from cmudrn.restoration.profile import Profile
from cmudrn.restoration.time_budget import BudgetRestorer, EngineOpener


@pytest.mark.parametrize(
    "module",
    [
        "cmudrn",
        "cmudrn.files.kinds",
        "cmudrn.files.listing",
        "cmudrn.files.results",
        "cmudrn.photos.settings",
        "cmudrn.restoration.settings",
    ],
)
def test_the_examples_of_the_docs_work(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module))
    assert outcome.attempted > 0 and outcome.failed == 0


def test_every_name_is_there() -> None:
    assert all(getattr(cmudrn, name) is not None for name in cmudrn.__all__)
    with pytest.raises(AttributeError):
        _ = cmudrn.no_such_name


def test_the_import_brings_no_library() -> None:
    script = "import sys, cmudrn; print(sorted({'numpy', 'pyvips', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return cmudrn.load(threads=1)


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16"])
def test_a_pil_image_comes_back_as_one(restorer: Restorer, mode: str) -> None:
    rng = np.random.default_rng(0)
    shape = (24, 32, len(Pillow.new(mode, (1, 1)).getbands()))
    if mode == "I;16":
        image = Pillow.fromarray(rng.integers(0, 65_536, shape[:2], np.uint16))
    else:
        pixels = rng.integers(0, 256, shape, np.uint8)
        image = Pillow.fromarray(pixels[..., 0] if shape[2] == 1 else pixels, mode)
    image.info["dpi"] = (300, 300)
    restored = restorer(image)
    assert (restored.mode, restored.size, restored.info) == (mode, image.size, image.info)
    before, after = np.asarray(image), np.asarray(restored)
    if mode in ("LA", "RGBA"):
        assert np.array_equal(before[..., -1], after[..., -1])
        before, after = before[..., :-1].squeeze(), after[..., :-1].squeeze()
    assert np.array_equal(after, restorer(np.ascontiguousarray(before)))


@pytest.mark.parametrize("value", [[[1, 2]], None, "photo.jpg", 5, Pillow.new("P", (4, 4))])
def test_what_is_no_image_gets_one_sentence(restorer: Restorer, value: object) -> None:
    with pytest.raises(ImageValueError) as refusal:
        restorer(value)
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("engine", ["native", "onnx"])
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_restorer_can_be_copied(engine: str, copied: Callable[[Restorer], Restorer]) -> None:
    if engine == "native" and not instruction_sets():
        pytest.skip("the native engine was not built here")
    original = cmudrn.load("cmudrn", engine=engine, threads=1, change_gating=False)
    again = copied(original)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    assert np.array_equal(again(image), original(image))
    assert (again.change_gating, again.tile_pixels) == (False, original.tile_pixels)


def test_a_restorer_with_a_budget_can_be_copied() -> None:
    opener = EngineOpener("cmudrn", "onnx", "fp32")
    profile = Profile(opener(1).info.sha256, "onnx fp32", {1: (1.0, 1.0, 1.0)})
    original = BudgetRestorer(opener, profile, 50.0, change_gating=False)
    again = pickle.loads(pickle.dumps(original))
    image = np.zeros((40, 60, 3), np.uint8)
    assert again.choose(image) == original.choose(image)
    assert (again.budget_ms, again.change_gating) == (50.0, False)


def test_a_file_is_restored_with_settings(tmp_path: Path, restorer: Restorer) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.jpg"
    cmudrn.write_image(np.zeros((24, 32, 3), np.uint8), source)
    done = cmudrn.restore_file(source, target, restorer=restorer, strength=0.5, quality=80)
    assert done.target == target and cmudrn.read_image(target).shape == (24, 32, 3)
    with pytest.raises(TargetError) as refusal:
        cmudrn.restore_file(source, target, restorer=restorer)
    assert refusal.value.exists and "--" not in str(refusal.value)
    cmudrn.restore_file(str(source), str(target), restorer=restorer, overwrite=True)


@pytest.mark.parametrize("settings", [{"strenght": 1}, {"strength": 2}, {"quality": 0}])
def test_settings_that_there_are_not(
    tmp_path: Path, restorer: Restorer, settings: dict[str, object]
) -> None:
    source = tmp_path / "a.png"
    cmudrn.write_image(np.zeros((24, 32, 3), np.uint8), source)
    with pytest.raises(InvalidSettingError) as refusal:
        cmudrn.restore_file(source, tmp_path / "b.jpg", restorer=restorer, **settings)
    assert refusal.value.setting in settings
    assert isinstance(refusal.value, CmudrnError) and not (tmp_path / "b.jpg").exists()


@pytest.mark.parametrize("model", [3, None, b"cmudrn", ["cmudrn"]])
def test_a_model_that_is_no_name_gets_one_sentence(model: Any) -> None:
    with pytest.raises(InvalidSettingError, match="not a"):
        cmudrn.load(model)
