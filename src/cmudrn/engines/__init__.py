"""Engines run one exported network on one batch; `open_engine` chooses one."""

from __future__ import annotations

import os
from numbers import Integral
from pathlib import Path

from cmudrn.engines.base import Batch, Engine, EngineOutputs
from cmudrn.errors import CmudrnError
from cmudrn.models.info import ModelInfo, receptive_field
from cmudrn.models.registry import ShippedModel, find_model, shipped_models

ENGINES = ("auto", "native", "onnx", "openvino")
"""What `engine` may be; "auto" takes the fastest that can run the model."""

PRECISIONS = ("auto", "fp32", "bf16")
"""What `precision` may be; "auto" takes bfloat16 where it is faster and keeps its promise."""


MAX_THREADS = 1024
"""More than any one machine's cores here; starting tens of thousands would take minutes."""


def open_engine(
    model: str | os.PathLike[str],
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
) -> Engine:
    """Return a model ready to run.

    Args:
        model: a shipped model's name, or the path of an ONNX file.
        engine: one of `ENGINES`.
        threads: processor threads of a call, at most `MAX_THREADS`; None is one for every core
            this process may use.
        precision: one of `PRECISIONS`; what the network multiplies in.

    Raises:
        CmudrnError: there is no such model, engine or precision here, the file is damaged, or the
            number of threads is none.
    """
    _check(engine, threads, precision)
    path = find_model(model)
    match engine:
        case "native":
            return _open_native(path, threads, precision)
        case "openvino":
            return _open_openvino(path, threads, precision)
        case "onnx":
            return _open_onnx(path, threads, precision)
        case _:
            from cmudrn.engines.native import CannotRunNatively

            try:
                return _open_native(path, threads, precision)
            except CannotRunNatively:
                return _open_onnx(path, threads, precision)


def _check(engine: str, threads: int | None, precision: str) -> None:
    if threads is not None and not isinstance(threads, Integral):
        raise CmudrnError(f"A number of threads is a whole number, not {threads}.")
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise CmudrnError(f"A number of threads is from 1 to {MAX_THREADS}; it is {threads}.")
    if engine not in ENGINES:
        raise CmudrnError(f"There is no engine {engine!r}; there are {', '.join(ENGINES)}.")
    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise CmudrnError(f"There is no precision {precision!r}; there are {known}.")


def _open_native(path: Path, threads: int | None, precision: str) -> Engine:
    from cmudrn.engines.native import NativeEngine, instruction_sets, keeps_promise

    if precision == "bf16":
        return NativeEngine(path, threads, "bf16")
    exact = NativeEngine(path, threads)
    forced = os.environ.get("CMUDRN_NATIVE_ISA", "")
    if precision == "auto" and instruction_sets("bf16") and forced in ("", "avx512bf16"):
        rounded = NativeEngine(path, threads, "bf16")
        if keeps_promise(exact, rounded):
            return rounded
    return exact


def _open_openvino(path: Path, threads: int | None, precision: str) -> Engine:
    try:
        from cmudrn.engines.openvino import OpenVinoEngine
    except ImportError as error:
        raise CmudrnError(
            "The engine openvino needs its extra: pip install 'cmudrn[openvino]'."
        ) from error
    return OpenVinoEngine(path, threads, "bf16" if precision == "bf16" else "fp32")


def _open_onnx(path: Path, threads: int | None, precision: str) -> Engine:
    from cmudrn.engines.onnx import OnnxEngine

    if precision == "bf16":
        raise CmudrnError("ONNX Runtime has no bfloat16 here; use --precision fp32 or auto.")
    return OnnxEngine(path, threads)


__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Batch",
    "Engine",
    "ModelInfo",
    "EngineOutputs",
    "ShippedModel",
    "find_model",
    "open_engine",
    "receptive_field",
    "shipped_models",
]
