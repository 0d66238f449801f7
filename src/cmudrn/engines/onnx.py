"""The portable engine: ONNX Runtime on the processor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# From 1.29 on, ONNX Runtime reports its use to its makers, unless this is set before its import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

from cmudrn.engines.base import (
    TILE_PIXELS,
    Batch,
    EngineOutputs,
    available_cores,
    check_batch,
    name_outputs,
    needed_layers,
)
from cmudrn.engines.confined import ConfinedError, ConfinedSession
from cmudrn.errors import DeviceError, ModelFileError
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.layers import Layer, LayerList
from cmudrn.models.model_file import ModelFile, make_info, open_model_file, parse_model
from cmudrn.models.onnx_writer import write_onnx

ort.disable_telemetry_events()  # Windows does not obey the variable
ort.set_default_logger_severity(4)  # a failure is raised, and told once

MAX_SESSIONS = 4
"""Depths that are kept open."""

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""Device -> what ONNX Runtime calls it; those that "auto" tries first come first."""

CARD_TILE_PIXELS = 2048 * 2048
"""Largest window for a graphics card, which is idle while tiles are cut and joined."""


def onnx_devices() -> tuple[str, ...]:
    """Return the devices for which the installed ONNX Runtime was built, best first."""
    built = ort.get_available_providers()
    return tuple(device for device, provider in PROVIDERS.items() if provider in built)


class OnnxEngine:
    """Runs one ONNX model file.

    A network that can be described as layers is written anew for ONNX Runtime, unrolled at the
    depth of the call; the first call of each depth takes some hundredths of a second longer.
    Other projects' networks of other operators are given as they are, after the checks of
    `cmudrn.models.model_file`: any with a single image input (N, 3, H, W) float32, whose first
    output is the restored image. On the processor they run in a process of their own, with limits
    of memory and time (`cmudrn.engines.confined`).

    Args:
        model: the model file, or its path.
        threads: processor threads of a call; None is one for every core this process may use.
        device: one of `onnx_devices()`.

    Raises:
        ModelFileError: the file cannot be read, or is no such model.
        DeviceError: ONNX Runtime was not built for the device, or it does not start.
    """

    precision = "fp32"
    instruction_set = ""

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        if device not in onnx_devices():
            raise DeviceError(
                f"The installed ONNX Runtime has no device {device!r}; "
                f"it has {', '.join(onnx_devices())}.",
                device=device,
            )
        self.device = device
        self.tile_pixels: int = TILE_PIXELS if device == "cpu" else CARD_TILE_PIXELS
        self._model = open_model_file(model)
        self._info = make_info(self._model)
        self.threads = threads or available_cores()
        self._asked_threads = threads
        self._sessions: dict[tuple[int, int, bool], Any] = {}
        self._session(
            self._info.stages, self._info.recursions, False
        )  # what cannot be run is told when it is opened
        if device != "cpu":  # a card may start and then fail
            side = -(-32 // self._info.alignment) * self._info.alignment
            self(np.zeros((1, 3, side, side), np.float32))

    @property
    def info(self) -> ModelInfo:
        """What the model file says about itself."""
        return self._info

    def __call__(
        self,
        batch: Batch,
        *,
        branches: bool = False,
        stages: int | None = None,
        recursions: int | None = None,
    ) -> EngineOutputs:
        """Return the restored batch; see `Engine`.

        Raises:
            InvalidSettingError: the model does not take this depth.
            ImageValueError: the batch is of another shape.
            ModelFileError: the network failed, or returned an image of another shape.
        """
        key = (*check_depth(self._info, stages, recursions), branches)
        session = self._session(*key)
        check_batch(batch, self._info)
        wanted = self._outputs(session, branches)
        feeds = {session.get_inputs()[0].name: np.ascontiguousarray(batch, np.float32)}
        try:
            arrays = session.run(wanted, feeds)
        except Exception as error:  # ONNX Runtime's errors have no common type
            del self._sessions[key]  # a process that failed has ended
            if self.device != "cpu":
                raise DeviceError(
                    f"The device {self.device} failed: {first_line(error)}.", device=self.device
                ) from error
            raise ModelFileError(
                f"The model {self._model.path} failed on a batch of shape {batch.shape}: "
                f"{first_line(error)}.",
                path=self._model.path,
            ) from error
        if arrays[0].shape != batch.shape:
            raise ModelFileError(
                f"The model {self._model.path} turned a batch of shape {batch.shape} into "
                f"{arrays[0].shape}; it has to keep the shape.",
                path=self._model.path,
            )
        if not branches:
            return EngineOutputs(arrays[0], {})
        return name_outputs(["restored", *wanted[1:]], arrays, self._info)

    def __reduce__(self) -> tuple[Callable[..., OnnxEngine], tuple[Any, ...]]:
        about = (self._model.data, self._model.path, self._asked_threads, self.device)
        return _reopen, about

    def _outputs(self, session: Any, branches: bool) -> list[str]:
        """Return the names of the outputs to ask for, the restored image first."""
        names = [entry.name for entry in session.get_outputs()]
        if self._info.network == "other":
            return names[:1]
        return ["restored", *(task for task in self._info.tasks if branches and task in names)]

    def _session(self, stages: int, recursions: int, branches: bool) -> Any:
        key = (stages, recursions, branches)
        if key not in self._sessions:
            if len(self._sessions) == MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            layers = needed_layers(self._info, stages, recursions, branches=branches)
            data = self._model.data
            if layers is not None:
                data = write_onnx(_for_processors(layers) if self.device == "cpu" else layers)
            self._sessions[key] = _open_session(
                self._model, data, self.threads, self.device, is_known=layers is not None
            )
        return self._sessions[key]


def _for_processors(layers: LayerList) -> LayerList:
    """Return the same network in layers that ONNX Runtime computes faster."""
    changed = tuple(_by_convolution(layers, layer) for layer in layers.layers)
    if _has_avx512():
        changed = tuple(_without_narrow_groups(layer) for layer in changed)
    return LayerList(changed, layers.outputs)


def _by_convolution(layers: LayerList, layer: Layer) -> Layer:
    """Return a pixel shuffle as a transposed convolution of every channel's four, all others as is.

    Its weights are ones and zeros, so the result is the same. ONNX Runtime's own shuffle takes
    twice the time.
    """
    if layer.operator != "pixel_shuffle" or layer.block != 2 or layer.order != "CRD":
        return layer
    channels = layers.channels[layer.output]
    weight = np.zeros((4 * channels, 1, 2, 2), np.float32)
    for place in range(4):
        weight[place::4, 0, place // 2, place % 2] = 1
    return Layer("conv_transpose", layer.inputs, layer.output, weight, stride=2, groups=channels)


def _without_narrow_groups(layer: Layer) -> Layer:
    """Return a convolution of two narrow groups as one group, with zeros between them.

    ONNX Runtime has fast convolutions on AVX-512 for groups of sixteen channels or a multiple. For
    it, one group of 48 is faster than two of 24, for all its twice as many multiply-adds.
    """
    weight = layer.weight
    if layer.operator != "conv" or layer.groups != 2 or weight is None:
        return layer
    outputs, inputs = weight.shape[0] // 2, weight.shape[1]
    if inputs > 32 or not (inputs % 16 or outputs % 16):
        return layer
    whole = np.zeros((2 * outputs, 2 * inputs, *weight.shape[2:]), np.float32)
    whole[:outputs, :inputs], whole[outputs:, inputs:] = np.split(weight, 2)
    return replace(layer, weight=whole, groups=1)


@cache
def _has_avx512() -> bool:
    """Return whether the processor has AVX-512, as far as Linux says so."""
    try:
        return " avx512f " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _reopen(data: bytes, path: str, threads: int | None, device: str) -> OnnxEngine:
    return OnnxEngine(parse_model(data, path), threads, device)


def _open_session(
    model: ModelFile, data: bytes, threads: int, device: str, *, is_known: bool
) -> Any:
    """Return a session of a network; one of unknown operators has a process of its own."""
    if not is_known and device == "cpu":
        try:
            return ConfinedSession(data, threads)
        except ConfinedError as error:
            raise ModelFileError(
                f"{model.path} is not a usable ONNX model: {error}.", path=model.path
            ) from error
    try:
        session = make_session(data, threads, device)
    except Exception as error:  # ONNX Runtime's errors have no common type
        if device != "cpu":
            raise DeviceError(
                f"The device {device} does not start: {first_line(error)}.", device=device
            ) from error
        raise ModelFileError(
            f"{model.path} is not a usable ONNX model: {first_line(error)}.", path=model.path
        ) from error
    if PROVIDERS[device] not in session.get_providers():
        raise DeviceError(
            f"The device {device} does not start: its driver or a library is missing.",
            device=device,
        )
    return session


def make_session(data: bytes, threads: int, device: str = "cpu") -> Any:
    """Return an `onnxruntime.InferenceSession` of a model file's bytes.

    Raises:
        Exception: ONNX Runtime does not take them, or the device does not start.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Waiting threads may spin during a call, but not between calls.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(data, options, providers=[PROVIDERS[device]])
    session.disable_fallback()  # to the processor, unasked
    return session


def first_line(error: Exception) -> str:
    """Return what an error says first, on one line, without a full stop."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in line)
