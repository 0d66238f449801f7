"""Engines run one exported network on one batch; `open_engine` chooses one."""

from __future__ import annotations

import os
from numbers import Integral

from cmudrn.engines.base import Batch, Engine, EngineOutputs
from cmudrn.errors import DeviceError, InvalidSettingError, MissingExtraError
from cmudrn.models.info import ModelInfo, receptive_field
from cmudrn.models.model_file import ModelFile, read_model_file
from cmudrn.models.registry import ShippedModel, find_model, shipped_models

ENGINES = ("auto", "native", "onnx", "openvino")
"""What `engine` may be; "auto" takes the fastest that can run the model."""

PRECISIONS = ("auto", "fp32", "bf16")
"""What `precision` may be; "auto" takes bfloat16 where it is faster and keeps its promise."""


DEVICES = ("cpu", "auto", "tensorrt", "cuda", "migraphx", "directml", "coreml", "openvino")
"""What `device` may be; "auto" takes a graphics card if one works, and else the processor."""

MAX_THREADS = 1024
"""More than any one machine's cores here; starting tens of thousands would take minutes."""


def open_engine(
    model: str | os.PathLike[str],
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    device: str = "cpu",
) -> Engine:
    """Return a model ready to run.

    Args:
        model: a shipped model's name, or the path of an ONNX file.
        engine: one of `ENGINES`.
        threads: processor threads of a call, at most `MAX_THREADS`; None is one for every core
            this process may use.
        precision: one of `PRECISIONS`; what the network multiplies in.
        device: one of `DEVICES`; a graphics card needs an ONNX Runtime that was built for it.

    Raises:
        InvalidSettingError: there is no such engine or precision here, or the number of threads
            is none.
        ModelFileError: there is no such model, its file is damaged, or the engine does not run it.
        MissingExtraError: the engine is not installed.
        DeviceError: the device is not there, or fails.
    """
    _check(engine, threads, precision, device)
    file = read_model_file(find_model(model))
    if device != "cpu":
        card = _open_on_card(file, engine, threads, precision, device)
        if card:
            return card
    match engine:
        case "native":
            return _open_native(file, threads, precision)
        case "openvino":
            return _open_openvino(file, threads, precision)
        case "onnx":
            return _open_onnx(file, threads, precision)
        case _:
            from cmudrn.engines.native import NativeUnavailableError

            try:
                return _open_native(file, threads, precision)
            except NativeUnavailableError:
                return _open_onnx(file, threads, precision)


def _open_on_card(
    model: ModelFile, engine: str, threads: int | None, precision: str, device: str
) -> Engine | None:
    """Return the model on a graphics card; None where "auto" finds none that works."""
    from cmudrn.engines.onnx import OnnxEngine, onnx_devices

    if device != "auto":
        if engine not in ("auto", "onnx") or precision == "bf16":
            raise InvalidSettingError(
                f"The device {device} is for engine onnx or auto, in fp32.",
                setting="device",
                value=device,
            )
        return OnnxEngine(model, threads, device)
    if engine not in ("auto", "onnx") or precision == "bf16":
        return None
    for found in onnx_devices():
        if found in ("cpu", "openvino"):  # OpenVINO may be the processor, too
            continue
        try:
            return OnnxEngine(model, threads, found)
        except DeviceError:
            continue
    return None


def _check(engine: str, threads: int | None, precision: str, device: str) -> None:
    if threads is not None:
        whole = isinstance(threads, Integral) and not isinstance(threads, bool)
        if not whole or not 1 <= threads <= MAX_THREADS:
            raise InvalidSettingError(
                f"A number of threads is a whole number from 1 to {MAX_THREADS}, not {threads}.",
                setting="threads",
                value=threads,
            )
    for setting, value, known in (
        ("engine", engine, ENGINES),
        ("precision", precision, PRECISIONS),
        ("device", device, DEVICES),
    ):
        if value not in known:
            raise InvalidSettingError(
                f"There is no {setting} {value!r}; there are {', '.join(known)}.",
                setting=setting,
                value=value,
            )


def _open_native(model: ModelFile, threads: int | None, precision: str) -> Engine:
    from cmudrn.engines.native import (
        BF16_SETS,
        FORCED_ISA,
        PAPERS_NETWORKS,
        NativeEngine,
        bf16_is_faster,
        passes_precision_check,
    )

    forced = os.environ.get(FORCED_ISA, "")
    if precision == "bf16" or (precision == "auto" and forced in BF16_SETS):
        return NativeEngine(model, threads, "bf16")
    exact = NativeEngine(model, threads)
    wide = exact.info.network not in PAPERS_NETWORKS
    if precision == "auto" and not forced and bf16_is_faster(wide=wide):
        rounded = NativeEngine(model, threads, "bf16")
        if passes_precision_check(exact, rounded):
            return rounded
    return exact


def _open_openvino(model: ModelFile, threads: int | None, precision: str) -> Engine:
    try:
        from cmudrn.engines.openvino import OpenVinoEngine
    except ImportError as error:
        raise MissingExtraError("The engine openvino", "openvino") from error
    return OpenVinoEngine(model, threads, "bf16" if precision == "bf16" else "fp32")


def _open_onnx(model: ModelFile, threads: int | None, precision: str) -> Engine:
    from cmudrn.engines.onnx import OnnxEngine

    if precision == "bf16":
        raise InvalidSettingError(
            "ONNX Runtime has no bfloat16 here: precision is fp32 or auto.",
            setting="precision",
            value=precision,
        )
    return OnnxEngine(model, threads)


__all__ = [
    "DEVICES",
    "ENGINES",
    "PRECISIONS",
    "Batch",
    "Engine",
    "EngineOutputs",
    "ModelInfo",
    "ShippedModel",
    "find_model",
    "open_engine",
    "receptive_field",
    "shipped_models",
]
