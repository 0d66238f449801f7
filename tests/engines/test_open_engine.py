"""Which engine is opened, and that all engines give the same image."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmudrn.engines import ENGINES, PRECISIONS, open_engine
from cmudrn.engines.native import NativeEngine, bf16_is_faster, instruction_sets
from cmudrn.engines.native.precision_check import trial_picture
from cmudrn.engines.onnx import OnnxEngine
from cmudrn.errors import CmudrnError

needs_native = pytest.mark.skipif(not instruction_sets(), reason="no native engine was built here")


@needs_native
def test_auto_takes_the_native_engine() -> None:
    engine = open_engine("cmudrn")
    assert isinstance(engine, NativeEngine)
    exact = open_engine("cmudrn", precision="fp32")
    assert isinstance(exact, NativeEngine) and exact.precision == "fp32"


def test_auto_falls_back_to_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMUDRN_NO_NATIVE", "1")
    assert isinstance(open_engine("cmudrn"), OnnxEngine)
    with pytest.raises(CmudrnError, match="switched off"):
        open_engine("cmudrn", "native")
    with pytest.raises(CmudrnError, match="bfloat16"):
        open_engine("cmudrn", "auto", precision="bf16")


def test_a_foreign_model_goes_to_onnxruntime(foreign_model: Path) -> None:
    assert isinstance(open_engine(foreign_model), OnnxEngine)


@needs_native
@pytest.mark.parametrize("kept", [True, False])
def test_auto_rounds_only_where_the_promise_is_kept(
    monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr("cmudrn.engines.native.passes_precision_check", lambda exact, rounded: kept)
    faster = bool(instruction_sets("bf16"))
    monkeypatch.setattr("cmudrn.engines.native.bf16_is_faster", lambda wide: faster)
    engine = open_engine("cmudrn")
    assert isinstance(engine, NativeEngine)
    assert engine.precision == ("bf16" if kept and instruction_sets("bf16") else "fp32")


@needs_native
@pytest.mark.parametrize("forced", (*instruction_sets(), *instruction_sets("bf16")))
def test_auto_keeps_to_a_forced_instruction_set(
    monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    monkeypatch.setenv("CMUDRN_NATIVE_ISA", forced)
    engine = open_engine("cmudrn")
    assert isinstance(engine, NativeEngine) and engine.instruction_set == forced


@needs_native
def test_what_is_forced_has_no_say_in_what_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    faster = [bf16_is_faster(wide=wide) for wide in (True, False)]
    assert faster[0] or not faster[1]
    assert not any(faster) or instruction_sets("bf16")
    monkeypatch.setenv("CMUDRN_NATIVE_ISA", "portable")
    assert faster == [bf16_is_faster(wide=wide) for wide in (True, False)]
    monkeypatch.setenv("CMUDRN_NO_NATIVE", "1")
    assert not bf16_is_faster(wide=True)


@pytest.mark.parametrize("engine, precision", [("tpu", "auto"), ("auto", "fp8")])
def test_an_unknown_choice_is_refused(engine: str, precision: str) -> None:
    with pytest.raises(CmudrnError, match="There is no"):
        open_engine("cmudrn", engine, precision=precision)
    assert engine not in ENGINES or precision not in PRECISIONS


@pytest.mark.parametrize("shape", [(33, 47), (8, 100)])
def test_openvino_equals_onnxruntime(shape: tuple[int, int]) -> None:
    pytest.importorskip("openvino")
    batch = trial_picture(*shape)
    for depth in ({}, {"stages": 1, "recursions": 2}):
        theirs = open_engine("cmudrn-25k", "onnx")(batch, branches=True, **depth)
        ours = open_engine("cmudrn-25k", "openvino")(batch, branches=True, **depth)
        assert np.abs(ours.restored - theirs.restored).max() < 1e-5
        assert ours.branches.keys() == theirs.branches.keys()
        for task, estimate in theirs.branches.items():
            assert np.abs(ours.branches[task] - estimate).max() < 1e-5


def test_openvino_runs_uneven_stitches(tiny_model: Path) -> None:
    pytest.importorskip("openvino")
    batch = trial_picture(20, 21)
    theirs = open_engine(tiny_model, "onnx")(batch).restored
    assert np.abs(open_engine(tiny_model, "openvino")(batch).restored - theirs).max() < 1e-5


def test_openvino_refuses_a_foreign_model(foreign_model: Path) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(CmudrnError, match="known layers"):
        open_engine(foreign_model, "openvino")


def test_without_its_extra_openvino_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def missing(name: str, *args: Any, **others: Any) -> Any:
        if name.endswith("openvino"):
            raise ImportError(name)
        return imported(name, *args, **others)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(CmudrnError, match="extra"):
        open_engine("cmudrn", "openvino")


@pytest.mark.parametrize("engine", ["native", "onnx"])
@pytest.mark.parametrize("threads", [0, 1.5, "2", 100_000])
def test_numbers_of_threads_that_are_none(engine: str, threads: Any) -> None:
    with pytest.raises(CmudrnError, match="A number of threads is"):
        open_engine("cmudrn", engine, threads)


@pytest.mark.parametrize("engine", ["native", "onnx"])
@pytest.mark.parametrize("depth", [{"stages": 1.5}, {"recursions": "2"}, {"stages": 0}])
def test_depths_that_are_none(engine: str, depth: Any) -> None:
    try:
        opened = open_engine("cmudrn-25k", engine, 1)
    except CmudrnError:
        pytest.skip("no native engine was built here")
    with pytest.raises(CmudrnError, match="Stages and recursions"):
        opened(np.zeros((1, 3, 8, 8), np.float32), **depth)
