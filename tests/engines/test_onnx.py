"""The ONNX engine against PyTorch, and with broken and foreign files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from support import tiny_onnx

from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(2).random((2, 3, 17, 23), dtype=np.float32)


def torch_cmudrn(weights: dict, batch: np.ndarray, stages: int, recursions: int) -> dict:
    """The paper's equations in PyTorch's functional form, independent of cmudrn.networks."""
    torch = pytest.importorskip("torch")
    relu = torch.relu
    tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}

    def conv(name: str, h):
        return torch.nn.functional.conv2d(
            h, tensors[name + ".weight"], tensors[name + ".bias"], padding=1
        )

    y = torch.from_numpy(batch)
    x = [y, y]
    for _ in range(stages):
        h = [relu(conv(f"branches.{k}.conv_in", torch.cat([y, x[k]], 1))) for k in (0, 1)]
        h = [(h[0] + h[1]) / 2] * 2
        for _ in range(recursions):
            for block in ("block1", "block2"):
                h = [
                    h[k]
                    + relu(
                        conv(
                            f"branches.{k}.{block}.conv_b",
                            relu(conv(f"branches.{k}.{block}.conv_a", h[k])),
                        )
                    )
                    for k in (0, 1)
                ]
                h = [(h[0] + h[1]) / 2] * 2
        x = [y + conv(f"branches.{k}.conv_out", h[k]) for k in (0, 1)]
    fused = relu(conv("fusion.conv1", torch.cat(x, 1)))
    fused = conv("fusion.conv3", relu(conv("fusion.conv2", fused)))
    return {"restored": fused.numpy(), "rain": x[0].numpy(), "snow": x[1].numpy()}


@pytest.mark.parametrize("stages, recursions", [(None, None), (1, 1), (3, 2), (1, 4)])
def test_equals_torch(tiny_model: Path, batch: np.ndarray, stages, recursions) -> None:
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tiny_model).graph.initializer
    }
    expected = torch_cmudrn(weights, batch, stages or 2, recursions or 2)
    outputs = open_engine(tiny_model, "onnx")(
        batch, branches=True, stages=stages, recursions=recursions
    )
    assert np.abs(outputs.restored - expected["restored"]).max() < 1e-5
    assert set(outputs.branches) == {"rain", "snow"}
    for task, estimate in outputs.branches.items():
        assert np.abs(estimate - expected[task]).max() < 1e-5


def test_info_comes_from_the_file(tiny_model: Path) -> None:
    info = open_engine(tiny_model, threads=1).info
    assert (info.name, info.network, info.tasks) == ("tiny", "cmudrn", ("rain", "snow"))
    assert (info.stages, info.recursions, info.adjustable, info.elastic) == (2, 2, True, True)
    assert len(info.sha256) == 64
    assert info.metadata["fusion"] == {"kernel": 3, "skip": False}


def test_branches_only_on_request(tiny_model: Path, batch: np.ndarray) -> None:
    assert open_engine(tiny_model, "onnx")(batch).branches == {}


def test_identity_model_returns_its_input(identity_model: Path, batch: np.ndarray) -> None:
    assert np.abs(open_engine(identity_model, "onnx")(batch).restored - batch).max() < 1e-6


def test_foreign_model(foreign_model: Path, batch: np.ndarray) -> None:
    engine = open_engine(foreign_model)
    assert (engine.info.network, engine.info.tasks) == ("other", ())
    assert not engine.info.adjustable
    np.testing.assert_allclose(engine(batch).restored, 1 - batch, atol=1e-7)
    with pytest.raises(CmudrnError, match="cmudrn-25k lets stages"):
        engine(batch, stages=3)


def test_repeatable(tiny_model: Path, batch: np.ndarray) -> None:
    first, second = open_engine(tiny_model), open_engine(tiny_model)
    assert first(batch).restored.tobytes() == second(batch).restored.tobytes()


def _rewritten(path: Path, target: Path, record: object) -> Path:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"cmudrn": json.dumps(record)})
    return tiny_onnx.save(model, target)


@pytest.mark.parametrize(
    "record, sentence",
    [({}, "damaged"), ([], "damaged"), ({"format": 1}, "damaged"), ({"format": 3}, "format is 3")],
)
def test_damaged_record(tiny_model: Path, tmp_path: Path, record, sentence: str) -> None:
    broken = _rewritten(tiny_model, tmp_path / "broken.onnx", record)
    with pytest.raises(CmudrnError, match=sentence):
        open_engine(broken)


@pytest.mark.parametrize("length", [0, 10, 1000])
def test_cut_model_file(tiny_model: Path, tmp_path: Path, length: int) -> None:
    broken = tmp_path / "cut.onnx"
    broken.write_bytes(tiny_model.read_bytes()[:length])
    with pytest.raises(CmudrnError):
        open_engine(broken)


def test_text_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(CmudrnError, match="is not a usable ONNX model"):
        open_engine(tmp_path / "text.onnx")


@pytest.mark.parametrize(
    "model, sentence",
    [("nosuch", "There is no model 'nosuch'"), ("a/b.onnx", "There is no model file a/b.onnx")],
)
def test_unknown_model(model: str, sentence: str) -> None:
    with pytest.raises(CmudrnError, match=sentence):
        open_engine(model)


def test_unknown_engine_and_threads(tiny_model: Path) -> None:
    with pytest.raises(CmudrnError, match="There is no engine 'steam'"):
        open_engine(tiny_model, "steam")
    with pytest.raises(CmudrnError, match="threads"):
        open_engine(tiny_model, threads=0)


@pytest.mark.parametrize("depth", [(0, 1), (1, 0), (-1, 2)])
def test_depth_starts_at_one(tiny_model: Path, batch: np.ndarray, depth) -> None:
    with pytest.raises(CmudrnError, match="start at 1"):
        open_engine(tiny_model, "onnx")(batch, stages=depth[0], recursions=depth[1])


def test_nothing_is_collected_about_the_user(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry leaves an identity in the cache and a session in the temp folder."""
    code = """
import cmudrn, numpy
cmudrn.load("cmudrn", engine="onnx", threads=1)(numpy.zeros((20, 20, 3), numpy.uint8))
"""
    (tmp_path / "tmp").mkdir()
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": ""}
    unset = {k: v for k, v in os.environ.items() if not k.startswith("ORT_")}
    subprocess.run([sys.executable, "-c", code], env=unset | places, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
