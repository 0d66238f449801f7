"""OpenVINO as an engine (extra `openvino`): the network as a plain ONNX file, unrolled."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov

from cmudrn.engines.base import (
    TILE_PIXELS,
    Batch,
    EngineOutputs,
    available_cores,
    check_batch,
    name_outputs,
    needed_layers,
)
from cmudrn.errors import ModelFileError
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.model_file import ModelFile, make_info, open_model_file, parse_model
from cmudrn.models.onnx_writer import write_onnx

MAX_COMPILED = 4
"""Networks kept, each for one size and depth."""


class OpenVinoEngine:
    """Runs networks that can be described as layers with OpenVINO.

    Its ONNX reader does not take loops of chosen length, so it is given the unrolled network,
    once for every size and depth. The first call of each takes about a second longer.
    """

    tile_pixels = TILE_PIXELS
    instruction_set = ""

    def __init__(
        self,
        model: str | os.PathLike[str] | ModelFile,
        threads: int | None = None,
        precision: str = "fp32",
    ) -> None:
        """Open a model file.

        Args:
            model: the model file, or its path.
            threads: processor threads of a call; None is one for every core.
            precision: "fp32" or "bf16".

        Raises:
            ModelFileError: the file cannot be read, is damaged, or holds other operators than
                layers have.
        """
        self._model = open_model_file(model)
        self._info = make_info(self._model)
        if self._info.graph is None:
            raise ModelFileError(
                f"The engine openvino runs networks of known layers, and {self._model.path} "
                "has others.",
                path=self._model.path,
            )
        self.precision = precision
        self.threads = threads or available_cores()
        self._asked_threads = threads
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": 1,
        }
        self._core = ov.Core()
        self._compiled: dict[tuple[int, ...], tuple[list[str], Any]] = {}

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
        """
        depth = check_depth(self._info, stages, recursions)
        check_batch(batch, self._info)
        names, request = self._request((*batch.shape, *depth, branches))
        results = request.infer([np.ascontiguousarray(batch, np.float32)])
        arrays = [np.array(results[index]) for index in range(len(names))]
        if self._info.network == "other":
            return EngineOutputs(arrays[0], {})
        if not branches:
            return EngineOutputs(arrays[0], {})
        return name_outputs(names, arrays, self._info)

    def __reduce__(self) -> tuple[Callable[..., OpenVinoEngine], tuple[Any, ...]]:
        about = (self._model.data, self._model.path, self._asked_threads, self.precision)
        return _reopen, about

    def _request(self, key: tuple[int, ...]) -> tuple[list[str], Any]:
        """Return the names of the outputs, and what runs the network.

        Args:
            key: B, 3, H, W, T, S, and whether the branches are wanted.
        """
        if key not in self._compiled:
            if len(self._compiled) == MAX_COMPILED:
                del self._compiled[next(iter(self._compiled))]
            batch, _, height, width, stages, recursions, branches = key
            layers = needed_layers(self._info, stages, recursions, branches=bool(branches))
            assert layers is not None  # the model was refused otherwise
            data = write_onnx(layers, size=(height, width), batch=batch)
            compiled = self._core.compile_model(self._core.read_model(data), "CPU", self._settings)
            self._compiled[key] = (list(layers.outputs), compiled.create_infer_request())
        return self._compiled[key]


def _reopen(data: bytes, path: str, threads: int | None, precision: str) -> OpenVinoEngine:
    return OpenVinoEngine(parse_model(data, path), threads, precision)
