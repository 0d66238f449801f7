"""The heat map: measurement, resume, drawing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from cmudrn.engines import Batch, Engine, EngineOutputs, open_engine
from cmudrn.errors import CmudrnError
from cmudrn.evaluation.heatmap import measure_heatmap, read_cells, write_cells
from cmudrn.models import ModelInfo

TITLE = "a machine; a model"


class CountingEngine(Engine):
    """Does nothing and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None, int | None]] = []

    @property
    def info(self) -> ModelInfo:
        return open_engine("cmudrn-25k", "onnx").info

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        self.calls.append((batch.shape[2], stages, recursions))
        return EngineOutputs(batch, {})


def test_every_cell_is_timed_after_one_call_to_warm_up(tmp_path: Path) -> None:
    engine, path = CountingEngine(), tmp_path / "map.csv"
    measure_heatmap(engine, path, TITLE, [10, 20], [1, 3], pictures=2)
    assert engine.calls == [
        call for side in (10, 20) for depth in (1, 3) for call in [(side, depth, depth)] * 3
    ]
    cells = read_cells(path, TITLE)
    assert [(cell.side, cell.loops, cell.pictures) for cell in cells] == [
        (10, 1, 2), (10, 3, 2), (20, 1, 2), (20, 3, 2)
    ]  # fmt: skip
    for cell in cells:
        assert 0 < cell.least_s <= cell.median_s <= cell.most_s
    work = cells[1].gflops * cells[1].median_s  # at T = S = 3, as the model's record has it
    assert work == pytest.approx(2e-9 * 177264 * 100, rel=1e-3)


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    measure_heatmap(CountingEngine(), path, TITLE, [10], [1, 2], pictures=1)
    before = [replace(cell, median_s=123.0) for cell in read_cells(path, TITLE)]
    write_cells(path, TITLE, before)
    engine = CountingEngine()
    measure_heatmap(engine, path, TITLE, [10, 15], [1, 2], pictures=1)
    assert {side for side, _, _ in engine.calls} == {15}
    assert read_cells(path, TITLE)[:2] == before


@pytest.mark.parametrize("text", ["", "side,loops\n", f"# {TITLE}\nside,loops\n1,2\n"])
def test_another_file_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(CmudrnError, match=r"map.csv"):
        measure_heatmap(CountingEngine(), path, TITLE, [10], [1], pictures=1)
    assert path.read_text() == text


def test_the_picture_shows_long_times_in_other_colours(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    measure_heatmap(CountingEngine(), path, TITLE, [10, 20], [1], pictures=1)
    first, second = read_cells(path, TITLE)
    plain = []
    for times in ((1.0, 1.0), (1.0, 100.0)):
        cells = [replace(first, median_s=times[0]), replace(second, median_s=times[1])]
        write_cells(path, TITLE, cells)
        measure_heatmap(CountingEngine(), path, TITLE, [10, 20], [1], pictures=1)
        with Pillow.open(path.with_suffix(".png")) as picture:
            plain.append(np.asarray(picture.convert("RGB"), int))
    assert np.abs(plain[0] - plain[1]).max() > 100


def test_a_model_of_one_depth_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    with pytest.raises(CmudrnError, match="fixed depth"):
        measure_heatmap(open_engine("cmudrn", "onnx"), path, TITLE, [10], [1, 2], pictures=1)
    assert not path.exists()
