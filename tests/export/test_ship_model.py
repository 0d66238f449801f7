"""From a checkpoint to all that ships with a model, and the shipped files made again."""

from __future__ import annotations

import importlib
import json
import shlex
import shutil
import sys
import tomllib
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("skimage", reason="the evaluate extra is not installed")

from cmudrn.cli import app
from cmudrn.datasets import open_dataset
from cmudrn.models import shipped_models
from cmudrn.models.model_file import make_info, read_model_file

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "docs" / "runs"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("ship_model")


@pytest.mark.parametrize("name", shipped_models())
def test_the_command_of_a_card_makes_the_shipped_file_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (ROOT / "docs" / "cards" / f"{name}.md").read_text(encoding="utf-8")
    command = card[card.index("    cmudrn export ") :].partition("\n\n")[0]
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, shlex.split(command.replace("\\\n", ""))[1:])
    assert result.exit_code == 0, result.output
    again = (tmp_path / f"{name}.onnx").read_bytes()
    assert sha256(again).hexdigest() == shipped_models()[name].sha256


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five folders of photographs, in small."""
    clean, rng = tmp_path / "data" / "clean", np.random.default_rng(0)
    counts = {"train": 4, "train_urban": 1, "val": 1, "val_urban": 1, "test_kodak24": 1}
    for folder, count in counts.items():
        (clean / folder).mkdir(parents=True)
        for number in range(count):
            blocks = rng.integers(40, 200, (4, 4, 3), np.uint8).repeat(12, 0).repeat(12, 1)
            Pillow.fromarray(blocks).save(clean / folder / f"{number}.png")
    return clean.parent


@pytest.fixture
def root(tmp_path: Path, tool: ModuleType) -> Path:
    """The files of the project that the tool rewrites."""
    root = tmp_path / "root"
    listed = tool.WEIGHTS / "weights.toml"
    for path in (listed, tool.CALIBRATIONS, tool.RESULTS, *tool.TABLES):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    return root


def test_a_checkpoint_becomes_the_model_that_ships(
    tool: ModuleType, root: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("test_kodak24 clear", "val_urban snow", "rain100l_40")
    datasets = {name: open_dataset(f"folder:{data}/clean/val", weather="snow") for name in names}
    monkeypatch.setattr(tool, "sets", lambda _: datasets)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    checkpoint = RUNS / "cmudrn-unet-glare" / "weights.safetensors"

    def made() -> dict[Path, bytes]:
        tool.ship(checkpoint, data, "cmudrn", root=root, trained_on='a "few" pictures')
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    after = made()
    model = root / tool.WEIGHTS / "cmudrn.onnx"
    assert after.keys() - before.keys() == {model}
    listed = tomllib.loads(after[root / tool.WEIGHTS / "weights.toml"].decode())
    once = tomllib.loads(before[root / tool.WEIGHTS / "weights.toml"].decode())
    entry = listed.pop("cmudrn")
    assert listed == {name: table for name, table in once.items() if name != "cmudrn"}
    assert entry["sha256"] == sha256(after[model]).hexdigest()
    assert entry["trained_on"] == 'a "few" pictures' and entry["preset"] == "cmudrn-unet-glare"
    assert entry["description"] == once["cmudrn"]["description"]
    assert set(entry["scores"]) == {"test_kodak24 clear", "rain100l_40"}
    row = entry["scores"]["rain100l_40"]
    cell = f"{row['psnr_db']:.2f}, {row['ssim']:.4f}"
    readme = after[root / "README.md"].decode()
    assert f"| Rain100L | 40 | 25.11, 0.8159 | {cell} | 29.53, 0.9249 |" in readme
    assert f"| Kodak24 clear | 24 | the same | {cell} | 45.30, 0.9942 |" in readme
    assert f"| 23.64, 0.8077 | 27.40, 0.9194 | {cell} |" in after[root / tool.TABLES[1]].decode()
    results = after[root / tool.RESULTS].decode()
    assert f"| rain100l_40 | 40 | cmudrn | {row['psnr_db']:.2f} | " in results
    scored = json.loads(after[root / tool.CALIBRATIONS])
    kept = json.loads(before[root / tool.CALIBRATIONS])
    assert scored["cmudrn-25k"] == kept["cmudrn-25k"]
    assert scored.get("cmudrn", {}).get("sha256", entry["sha256"]) == entry["sha256"]
    assert made() == after


def test_a_model_for_comparisons_is_the_network_alone(
    tool: ModuleType, root: Path, data: Path
) -> None:
    before = (root / tool.CALIBRATIONS).read_bytes()
    checkpoint = RUNS / "studies" / "full-drn-rain-seed0" / "last.safetensors"
    tool.ship(checkpoint, data, "drn-rain", root=root, comparison=True, scored=False)
    info = make_info(read_model_file(root / tool.WEIGHTS / "drn-rain.onnx"))
    listed = tomllib.loads((root / tool.WEIGHTS / "weights.toml").read_text(encoding="utf-8"))
    assert info.change_gating_db is None and info.sha256 == listed["drn-rain"]["sha256"]
    assert listed["drn-rain"]["preset"] == "drn-rain"
    assert (root / tool.CALIBRATIONS).read_bytes() == before


def test_an_unknown_name_changes_nothing(tool: ModuleType, root: Path, data: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(ValueError):
        tool.ship(RUNS / "cmudrn-unet-glare" / "weights.safetensors", data, "nosuch", root=root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "clear, light, expected",
    [
        ({40.0: 46.0, 38.0: 48.0}, {40.0: 30.0, 38.0: 29.8}, 40.0),  # 38 costs too much
        ({40.0: 46.0, 38.0: 48.0}, {40.0: 30.0, 38.0: 29.95}, 38.0),
        ({40.0: 45.4}, {40.0: 30.0}, None),  # gains too little
        ({40.0: 50.0}, {40.0: 29.0}, None),
    ],
)
def test_change_gating_is_chosen_where_it_gains_and_does_not_cost(
    tool: ModuleType, clear: dict[float, float], light: dict[float, float], expected: float | None
) -> None:
    scores = {("clear", None): [45.0], ("light-rain 1", None): [30.0]}
    for decibels in tool.fit_change_gating.DECIBELS:
        scores["clear", decibels] = [clear.get(decibels, 45.0)]
        scores["light-rain 1", decibels] = [light.get(decibels, 30.0)]
    assert tool.fit_change_gating.choose(scores) == expected


def test_a_model_that_takes_clear_pictures_for_weather_has_no_score(
    tool: ModuleType, tmp_path: Path
) -> None:
    fit = sys.modules["fit_weather_classifier"]
    rng, numbers = np.random.default_rng(0), {"rain": -3.0, "snow": 3.0, "clear": 0.0}
    rows = [
        fit.Row(weather, weather == "clear", rng.normal(middle, 0.3, 20))
        for weather, middle in numbers.items()
        for _ in range(20)
    ]
    info = make_info(read_model_file(shipped_models()["cmudrn"].path))
    calibration = fit.regress(rows, info)
    assert fit.wrong_clear(calibration, rows) == 0
    odd = fit.Row("clear", True, rng.normal(3, 0.1, 20))
    assert fit.wrong_clear(calibration, [*rows, odd]) == pytest.approx(1 / 21)
    path = tmp_path / "scores.json"
    fit.store("other", calibration, path)
    fit.store("cmudrn", calibration, path)
    assert set(json.loads(path.read_text())) == {"cmudrn", "other"}
    fit.store("cmudrn", None, path)
    assert set(json.loads(path.read_text())) == {"other"}
