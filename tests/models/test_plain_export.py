"""Plain files give the same image in every host at every size; wrong requests are told."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest

import cmudrn
from cmudrn.engines import open_engine
from cmudrn.errors import CmudrnError, InvalidSettingError, TargetError
from cmudrn.models import ModelInfo, find_model, shipped_models
from cmudrn.models.model_file import make_info, read_model_file
from cmudrn.models.plain_export import export_plain

Batch = np.ndarray[Any, np.dtype[np.float32]]


def in_onnxruntime(path: Path, batch: Batch) -> Batch:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (inputs,), (outputs,) = session.get_inputs(), session.get_outputs()
    assert (inputs.name, outputs.name) == ("degraded", "restored")
    return session.run(None, {inputs.name: batch})[0]


def in_openvino(path: Path, batch: Batch) -> Batch:
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}  # bfloat16 is its default where it is fast
    network = core.compile_model(core.read_model(path), "CPU", settings)
    assert (len(network.inputs), len(network.outputs)) == (1, 1)
    return np.array(network(batch)[0])


HOSTS = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}


NAMES = list(shipped_models())


def info_of(name: str) -> ModelInfo:
    return make_info(read_model_file(find_model(name)))


@cache
def multi_scale() -> str:
    """Return a model whose images have to be padded."""
    return next(name for name in NAMES if info_of(name).alignment > 1)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("size", [None, (37, 50)])
@pytest.mark.parametrize("name", NAMES[:4])
def test_a_host_restores_the_image_that_the_program_does(
    name: str, size: tuple[int, int] | None, host: str, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.onnx"
    export_plain(name, plain, size=size)
    image = np.random.default_rng(0).random((37, 50, 3), np.float32)
    program = cmudrn.load(plain, engine="onnx", threads=1, change_gating=False)
    expected = cmudrn.Restorer(program.engine, change_gating=False)(image)
    found = HOSTS[host](plain, np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    assert found.shape == (1, 3, 37, 50)
    assert found.min() >= 0 and found.max() <= 1
    assert np.abs(found[0].transpose(1, 2, 0) - expected.clip(0, 1)).max() < 1 / 255


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_model_is_read_back_as_what_it_was(name: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.onnx"
    written = export_plain(name, plain)
    info = make_info(read_model_file(plain))
    assert (info.name, info.adjustable, info.elastic) == (name, False, False)
    assert (info.stages, info.recursions) == written.depth
    layers, original = info.layers(), written.info.layers()
    assert layers is not None and original is not None
    assert (layers.alignment, layers.parameters) == (original.alignment, original.parameters)
    assert list(layers.outputs) == ["restored"]
    batch = np.random.default_rng(1).random((1, 3, 32, 48), np.float32)
    expected = open_engine(name, "onnx", 1)(batch)
    assert np.abs(open_engine(plain, "onnx", 1)(batch).restored - expected.restored).max() < 1e-5


def test_a_depth_is_unrolled(tmp_path: Path) -> None:
    name = next(name for name in NAMES if info_of(name).elastic)
    plain = tmp_path / "plain.onnx"
    assert export_plain(name, plain, stages=2, recursions=1).depth == (2, 1)
    batch = np.random.default_rng(0).random((1, 3, 20, 24), np.float32)
    engine = open_engine(plain, "onnx", 1)
    expected = open_engine(name, "onnx", 1)(batch, stages=2, recursions=1)
    assert np.abs(engine(batch).restored - expected.restored).max() < 1e-5
    assert np.abs(in_onnxruntime(plain, batch) - expected.restored.clip(0, 1)).max() < 1e-5
    with pytest.raises(InvalidSettingError, match="fixed depth"):
        engine(batch, stages=3)


@pytest.mark.parametrize("changed", ["plain.step", "plain.white", "plain.before"])
def test_a_file_that_only_looks_plain_is_not_taken_for_one(changed: str, tmp_path: Path) -> None:
    """Its nodes are left in, so a network with them is none that this program describes."""
    onnx = pytest.importorskip("onnx")
    plain = tmp_path / "plain.onnx"
    export_plain(multi_scale(), plain)
    model = onnx.load(plain)
    for tensor in model.graph.initializer:
        if tensor.name == changed:
            array = onnx.numpy_helper.to_array(tensor) + 1
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, changed))
    onnx.save(model, plain)
    with pytest.raises(CmudrnError, match="cannot be run"):
        make_info(read_model_file(plain))


def test_a_package_for_darktable_passes_its_own_check(tmp_path: Path) -> None:
    package = tmp_path / "rain.dtmodel"
    export_plain(multi_scale(), package)
    again = tmp_path / "again.dtmodel"
    export_plain(multi_scale(), again)
    assert package.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(io.BytesIO(package.read_bytes())) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / f"denoise-{multi_scale()}"
    assert json.loads((folder / "config.json").read_text())["task"] == "denoise"
    validate = pytest.importorskip("dt_ai_sdk.validate", reason="darktable-ai-sdk is missing")
    assert validate.validate_config_json(folder / "config.json")
    assert validate.validate_onnx(folder / "model.onnx")


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"stages": 0}, InvalidSettingError),
        ({"recursions": 65}, InvalidSettingError),
        ({"size": (0, 10)}, InvalidSettingError),
        ({"size": (10, 1 << 20)}, InvalidSettingError),
        ({"target": "plain.txt"}, InvalidSettingError),
        ({"model": "nosuch"}, CmudrnError),
    ],
)
def test_what_cannot_be_exported_is_told(
    changes: dict[str, Any], error: type[CmudrnError], tmp_path: Path
) -> None:
    settings = {"model": "cmudrn", "target": "plain.onnx"} | changes
    settings["target"] = tmp_path / settings["target"]
    with pytest.raises(error):
        export_plain(**settings)
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "plain.onnx"
    target.write_text("mine")
    with pytest.raises(TargetError):
        export_plain("cmudrn", target)
    assert target.read_text() == "mine"
    export_plain("cmudrn", target, overwrite=True)
    assert target.read_bytes().startswith(b"\x08")
