"""Other projects' networks run in a process of their own, within limits of memory and time."""

from __future__ import annotations

import gc
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
from onnx import TensorProto, helper  # noqa: E402

from cmudrn import CmudrnError  # noqa: E402
from cmudrn.engines import confined, open_engine  # noqa: E402
from cmudrn.engines.confined import ConfinedError, ConfinedSession  # noqa: E402
from cmudrn.engines.onnx import OnnxEngine  # noqa: E402

BATCH = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
SIDE = 1 << 20


def save(nodes: list[Any], path: Path, shape: tuple[int, ...]) -> Path:
    """Write a model of another project whose nodes make "y" of the image "x"."""
    sides = ["n", 3, "h", "w"]
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in "xy"]
    numbers = helper.make_tensor("shape", TensorProto.INT64, [len(shape)], shape)
    graph = helper.make_graph(nodes, "g", entries[:1], entries[1:], [numbers])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    path.write_bytes(model.SerializeToString())
    return path


def huge(operator: str) -> list[Any]:
    """Return nodes that make a tensor of 2^40 numbers of one number, and one number of it."""
    make = {
        "Expand": [helper.make_node("Expand", ["one", "shape"], ["big"])],
        "Tile": [helper.make_node("Tile", ["one", "shape"], ["big"])],
        # It depends on nothing: ONNX Runtime makes it when the model is opened.
        "ConstantOfShape": [helper.make_node("ConstantOfShape", ["shape"], ["big"])],
    }[operator]
    one = helper.make_node("ReduceMax", ["x"], ["one"], keepdims=1)
    small = helper.make_node("ReduceMax", ["big"], ["small"], keepdims=1)
    return [one, *make, small, helper.make_node("Add", ["x", "small"], ["y"])]


@pytest.mark.parametrize("operator", ["Expand", "Tile", "ConstantOfShape"])
def test_a_small_file_that_asks_for_huge_tensors_is_refused(operator: str, tmp_path: Path) -> None:
    path = save(huge(operator), tmp_path / "huge.onnx", (1, 1, SIDE, SIDE))
    assert path.stat().st_size < 1000
    with pytest.raises(CmudrnError, match=r"huge\.onnx") as caught:
        open_engine(path, threads=1)(BATCH)
    assert str(caught.value).count("\n") == 0


def test_what_takes_a_little_too_much_is_refused_by_the_process_s_limit(tmp_path: Path) -> None:
    if not hasattr(os, "sysconf") or not Path("/proc/self/status").exists():
        pytest.skip("only Linux limits a process's memory")
    gigabyte = save(huge("Expand"), tmp_path / "gigabyte.onnx", (1, 1, 1 << 14, 1 << 14))
    session = ConfinedSession(gigabyte.read_bytes(), 1, memory=600 << 20)
    with pytest.raises(ConfinedError):
        session.run(["y"], {"x": BATCH})


def test_a_network_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["one"], axes=[0, 1], keepdims=0),
        helper.make_node("ReduceMax", ["one"], ["least"], keepdims=1),
        helper.make_node("Expand", ["least", "shape"], ["m0"]),
    ]
    nodes += [helper.make_node("MatMul", ["m0", f"m{n}"], [f"m{n + 1}"]) for n in range(2000)]
    nodes += [helper.make_node("ReduceMax", ["m2000"], ["last"], keepdims=0)]
    nodes += [helper.make_node("Add", ["x", "last"], ["y"])]
    path = save(nodes, tmp_path / "endless.onnx", (2048, 2048))
    engine = OnnxEngine(path, threads=1)
    monkeypatch.setattr(next(iter(engine._sessions.values())), "_seconds", 0.3)
    with pytest.raises(CmudrnError, match=r"endless\.onnx .* took more than 0 seconds"):
        engine(BATCH)


def test_loops_are_refused_before_anything_runs(tmp_path: Path) -> None:
    kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "on": TensorProto.BOOL}
    values = {name: helper.make_tensor_value_info(name, kind, []) for name, kind in kinds.items()}
    always = helper.make_node("Identity", ["go"], ["on"])
    body = helper.make_graph([always], "body", [values["i"], values["go"]], [values["on"]])
    nodes = [
        helper.make_node("Loop", ["", ""], [], body=body),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    path = save(nodes, tmp_path / "loop.onnx", (1,))
    with pytest.raises(CmudrnError, match=r"loop\.onnx is of another project and has loops"):
        open_engine(path)


def test_the_process_ends_with_its_engine_and_another_follows_one_that_was_killed(
    tmp_path: Path,
) -> None:
    nodes = [helper.make_node("Sin", ["x"], ["y"])]
    engine = OnnxEngine(save(nodes, tmp_path / "sine.onnx", (1,)), threads=1)
    np.testing.assert_allclose(engine(BATCH).restored, np.sin(BATCH), atol=1e-6)
    process: subprocess.Popen[bytes] = next(iter(engine._sessions.values()))._process
    process.kill()
    with pytest.raises(CmudrnError, match="crashed, or took more than"):
        engine(BATCH)
    np.testing.assert_allclose(engine(BATCH).restored, np.sin(BATCH), atol=1e-6)
    process = next(iter(engine._sessions.values()))._process
    del engine
    gc.collect()
    for _ in range(500):
        if process.poll() is not None:
            break
        time.sleep(0.02)
    assert process.poll() is not None


def test_the_limit_is_a_part_of_the_machine_s_memory() -> None:
    assert confined.MIN_MEMORY <= confined.memory_limit() <= confined.MAX_MEMORY
