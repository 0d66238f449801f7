"""The reader of model files against the onnx package, and on damaged files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmudrn.errors import ModelFileError
from cmudrn.models.model_file import read_model_file


def test_it_reads_what_onnx_reads(tiny_model: Path) -> None:
    model, ours = onnx.load(tiny_model), read_model_file(tiny_model)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert ours.tensors.keys() == {tensor.name for tensor in floats} and floats
    for tensor in floats:
        assert np.array_equal(ours.tensors[tensor.name], onnx.numpy_helper.to_array(tensor))
    assert {entry.name for entry in ours.graph.inputs} == {
        value.name for value in model.graph.input
    }
    assert ours.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert ours.sha256 == hashlib.sha256(tiny_model.read_bytes()).hexdigest()


def save(tensor: onnx.TensorProto, folder: Path) -> Path:
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    path = folder / "one.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


@pytest.mark.parametrize("raw", [True, False])
def test_both_ways_to_store_floats(raw: bool, tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    content = values.tobytes() if raw else values.ravel()
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 3], content, raw=raw)
    assert np.array_equal(read_model_file(save(tensor, tmp_path)).tensors["w"], values)


def test_a_scalar_has_no_sides(tmp_path: Path) -> None:
    tensor = onnx.helper.make_tensor("a", onnx.TensorProto.FLOAT, [], [0.5])
    assert read_model_file(save(tensor, tmp_path)).tensors["a"] == np.float32(0.5)


def test_other_types_are_left_out(tmp_path: Path) -> None:
    tensor = onnx.helper.make_tensor("n", onnx.TensorProto.INT64, [1], [3])
    assert read_model_file(save(tensor, tmp_path)).tensors == {}


def test_a_shape_that_lies_is_refused(tmp_path: Path) -> None:
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    tensor.dims[0] = 1 << 60
    with pytest.raises(ModelFileError, match="shape"):
        read_model_file(save(tensor, tmp_path))


def test_tensors_in_other_files_are_refused(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, data_location=1, dims=[1])
    with pytest.raises(ModelFileError, match="another file"):
        read_model_file(save(tensor, tmp_path))


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="Cannot read the model"):
        read_model_file(tmp_path / "none.onnx")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_told_or_harmless(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(tiny_model.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(8):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(content)
    try:
        model = read_model_file(path)
    except ModelFileError as error:
        assert "not a usable ONNX model" in str(error)
    else:
        assert all(tensor.dtype == np.float32 for tensor in model.tensors.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelFileError, match=r"is not a regular file\.$"):
        read_model_file(tmp_path / "model.onnx")
