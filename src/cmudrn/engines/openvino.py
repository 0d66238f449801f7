"""OpenVINO as an engine (extra `openvino`): the network rebuilt from the model file, unrolled."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from cmudrn.engines.base import Batch, EngineOutputs, available_cores
from cmudrn.engines.native.weights import POSITIONS, Floats, stitch_matrix
from cmudrn.errors import CmudrnError
from cmudrn.models.info import ModelInfo, check_depth
from cmudrn.models.model_file import ModelFile, make_info, read_model_file

Node = Any
MAX_COMPILED = 4
"""Networks kept, each for one size and depth."""


class OpenVinoEngine:
    """Runs the project's own models with OpenVINO.

    Its ONNX reader does not take loops of chosen length, so the graph is built here, once for
    every size and depth. The first call of each takes about a second longer.
    """

    def __init__(
        self, path: str | os.PathLike[str], threads: int | None = None, precision: str = "fp32"
    ) -> None:
        """Open a model file.

        Args:
            path: the model file.
            threads: processor threads of a call; None is one for every core.
            precision: "fp32" or "bf16".

        Raises:
            CmudrnError: the file cannot be read, is damaged, or no model of this project.
        """
        model = read_model_file(path)
        if "cmudrn" not in model.metadata:
            raise CmudrnError(f"The engine openvino runs this project's models, and {path} is not.")
        self._model, self.precision = model, precision
        self._info = make_info(model)
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads or available_cores(),
            "NUM_STREAMS": 1,
        }
        self._compiled: dict[tuple[int, ...], Any] = {}

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
            CmudrnError: the model does not take this depth or this batch.
        """
        depth = check_depth(self._info, stages, recursions)
        if batch.ndim != 4 or batch.shape[1] != 3 or not batch.size:
            raise CmudrnError(f"A batch has the shape (B, 3, H, W), not {batch.shape}.")
        request = self._request((*batch.shape, *depth))
        results = request.infer([np.ascontiguousarray(batch, np.float32)])
        restored, *estimates = (np.array(results[i]) for i in range(len(results)))
        tasks = self._info.tasks if branches else ()
        alone = len(estimates) == 1
        chosen = {task: estimates[0 if alone else b] for b, task in enumerate(tasks)}
        return EngineOutputs(restored, chosen)

    def _request(self, key: tuple[int, ...]) -> Any:
        if key not in self._compiled:
            if len(self._compiled) == MAX_COMPILED:
                del self._compiled[next(iter(self._compiled))]
            graph = _Builder(self._model, self._info).network(key[:4], key[4], key[5])
            compiled = ov.Core().compile_model(graph, "CPU", self._settings)
            self._compiled[key] = compiled.create_infer_request()
        return self._compiled[key]


class _Builder:
    """Writes one network as an OpenVINO graph."""

    def __init__(self, model: ModelFile, info: ModelInfo) -> None:
        self._model, self._record = model, info.metadata
        self._fused = info.network == "cmudrn"
        self._branches = len(info.tasks) if self._fused else 1
        self._stitches = {
            position: stitch_matrix(model, info.metadata, position, self._branches)
            for position in POSITIONS
        }

    def network(self, shape: tuple[int, ...], stages: int, recursions: int) -> Any:
        degraded = ops.parameter(list(shape), np.float32, name="degraded")
        estimates = [degraded] * self._branches
        for _ in range(stages):
            estimates = self._stage(degraded, estimates, recursions)
        mean = ops.multiply(_sum(estimates), np.float32(1 / len(estimates)))
        restored = self._fusion(estimates, mean) if self._fused else mean
        outputs = [ops.result(node) for node in (restored, *estimates)]
        return ov.Model(outputs, [degraded], "cmudrn")

    def _stage(self, degraded: Node, estimates: list[Node], recursions: int) -> list[Node]:
        maps = [
            ops.relu(self._convolve(ops.concat([degraded, x], 1), b, "conv_in"))
            for b, x in enumerate(estimates)
        ]
        maps = self._stitch(maps, "in")
        for _ in range(recursions):
            for block, position in (("block1", "rb1"), ("block2", "rb2")):
                maps = self._stitch(
                    [self._block(h, b, block) for b, h in enumerate(maps)], position
                )
        maps = self._stitch(maps, "rec")
        left = [self._convolve(h, b, "conv_out") for b, h in enumerate(maps)]
        if self._record.get("relu_output", False):
            left = [ops.relu(h) for h in left]
        return self._stitch([ops.add(degraded, h) for h in left], "img")

    def _block(self, h: Node, branch: int, block: str) -> Node:
        inner = ops.relu(self._convolve(h, branch, f"{block}.conv_a"))
        return ops.add(h, ops.relu(self._convolve(inner, branch, f"{block}.conv_b")))

    def _fusion(self, estimates: list[Node], mean: Node) -> Node:
        h = ops.concat(estimates, 1)
        h = ops.relu(self._layer(h, "fusion.conv1"))
        h = ops.relu(self._layer(h, "fusion.conv2"))
        h = self._layer(h, "fusion.conv3")
        return ops.add(h, mean) if self._record.get("fusion", {}).get("skip") else h

    def _convolve(self, h: Node, branch: int, name: str) -> Node:
        return self._layer(h, f"branches.{branch}.{name}" if self._fused else name)

    def _layer(self, h: Node, name: str) -> Node:
        weight, bias = (self._model.tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        pad = [weight.shape[2] // 2] * 2
        sums = ops.convolution(h, ops.constant(weight), [1, 1], pad, pad, [1, 1])
        return ops.add(sums, ops.constant(bias.reshape(1, -1, 1, 1)))

    def _stitch(self, maps: list[Node], position: str) -> list[Node]:
        matrix: Floats = self._stitches[position]
        if len(maps) == 1 or (matrix == np.eye(len(maps), dtype=np.float32)[:, :, None]).all():
            return maps
        channels = 3 if position == "img" else self._record["features"]
        weights = matrix[:, :, :channels].reshape(*matrix.shape[:2], 1, channels, 1, 1)
        return [
            _sum([ops.multiply(h, ops.constant(w)) for h, w in zip(maps, row, strict=True)])
            for row in weights
        ]


def _sum(nodes: list[Node]) -> Node:
    total = nodes[0]
    for node in nodes[1:]:
        total = ops.add(total, node)
    return total
