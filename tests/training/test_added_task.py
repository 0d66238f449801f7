"""docs/tasks.md: a third task needs a weather, a preset and nothing else. Tried with dust."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from support.trees import save, scene

import cmudrn
from cmudrn.export.export_checkpoint import export_checkpoint
from cmudrn.photos import PhotoSettings, restore_photo
from cmudrn.restoration import RestoreSettings
from cmudrn.training.config import load_config
from cmudrn.training.run import start_run
from cmudrn.weather.presets import WEATHERS

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


def blocks(language: str) -> list[str]:
    """Return the page's code of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_keeps_its_promise_of_length() -> None:
    assert sum(len(block.strip().splitlines()) for block in blocks("python")) <= 30
    assert len(blocks("toml")) == 1


def test_a_task_added_as_the_page_says_trains_exports_and_has_its_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, namespace)
    monkeypatch.setitem(WEATHERS, "dust", namespace["Dust"]())  # type: ignore[operator]
    preset = tmp_path / "dust.toml"
    preset.write_text(blocks("toml")[0], encoding="utf-8")
    for number in range(2):
        save(scene(number, (48, 64)), tmp_path / "clean" / f"{number}.png")
    small = ["network.features=4", "network.stages=1", "network.recursions=1", "data.patch=16"]
    small += ["data.batch=4", "data.workers=0", "data.reductions=[1]", "data.structures=0"]
    small += ["training.steps=3", "training.warmup=0", f"data.clean={tmp_path / 'clean'}"]
    config = load_config(str(preset), [*small, "data.validation="])
    run = start_run(config, tmp_path / "run", threads=1, report=lambda _: None)

    export_checkpoint(run.last, tmp_path / "dust.onnx")
    restorer = cmudrn.load(tmp_path / "dust.onnx", engine="onnx", threads=1)
    assert restorer.info.tasks == ("rain", "snow", "dust")
    Pillow.fromarray(np.full((24, 32, 3), 90, np.uint8)).save(tmp_path / "a.png")
    settings = PhotoSettings(RestoreSettings(layers=True))
    done = restore_photo(restorer, tmp_path / "a.png", tmp_path / "b.png", settings)
    assert set(done.layers) == {"rain", "snow", "dust", "fused"}
    assert done.layers["dust"].is_file()
