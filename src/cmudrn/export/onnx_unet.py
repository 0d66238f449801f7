"""The network over several scales as an ONNX file: a plain graph without loops.

One input, `degraded` (B, 3, H, W), whose sides are multiples of the alignment: `restoration` pads
images of other sizes by replicating their edges and crops the results. Outputs: `restored` and each
task's last estimate under the task's name. An output that is not asked for is not computed.

The graph uses few operators: pixel unshuffle is `SpaceToDepth`, pixel shuffle is `DepthToSpace`,
and a cross-stitch unit is a 1 x 1 convolution.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from cmudrn.export.onnx_graph import Nodes, Value, describe, save_model
from cmudrn.models.info import VEIL_PREFIX
from cmudrn.networks.cmudrn_unet import SHUFFLE, STAGES
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.cross_stitch import even_matrix

Floats = NDArray[np.float32]


class UNetWriter:
    """Writes the graph; each method mirrors a part of `CMUDRNUNet`.

    Args:
        config: the network's structure.
        weights: its state dict.
    """

    def __init__(self, config: NetworkConfig, weights: dict[str, Tensor]) -> None:
        self.config = config
        self.weights = {k: v.detach().cpu().float().numpy() for k, v in weights.items()}
        self.branches = len(config.tasks)
        self.tensors: dict[str, NDArray[Any]] = {}
        self.g = Nodes("")

    def constant(self, name: str, value: NDArray[Any]) -> Value:
        """Keep a tensor under a name, once."""
        self.tensors.setdefault(name, np.ascontiguousarray(value))
        return name

    def convolve(
        self, x: Value, name: str, weight: Floats, bias: Floats | None, **more: Any
    ) -> Value:
        """Append a convolution, a stride of 2 and padding to keep the size by default."""
        kernel = weight.shape[2]
        settings = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4} | more
        inputs = [x, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return str(self.g.add("Conv", *inputs, **settings))

    def grouped(self, layer: str) -> tuple[Floats, Floats]:
        """Return weight and bias of a layer, the branches' behind one another."""
        stems = [f"{layer}.own.{i}" for i in range(self.branches)]
        weight = np.concatenate([self.weights[f"{stem}.weight"] for stem in stems])
        return weight, np.concatenate([self.weights[f"{stem}.bias"] for stem in stems])

    def branch_conv(self, maps: Value, layer: str, **more: Any) -> Value:
        """Append a convolution of every branch, in groups."""
        weight, bias = self.grouped(layer)
        return self.convolve(maps, layer, weight, bias, group=self.branches, **more)

    def conv_in(self, degraded: Value) -> Value:
        """Append pixel unshuffle and the first convolution, which every branch has its own of."""
        folded = self.g.add("SpaceToDepth", degraded, blocksize=SHUFFLE)
        weight, bias = self.grouped("enter")
        # SpaceToDepth puts the places of a block first, pixel unshuffle the colours.
        out, side = len(weight), weight.shape[2]
        by_colour = weight.reshape(out, 3, SHUFFLE**2, side, side)
        by_place = by_colour.transpose(0, 2, 1, 3, 4).reshape(weight.shape)
        return self.g.relu(self.convolve(folded, "enter", by_place, bias))

    def block(self, maps: Value, layer: str) -> Value:
        """Append h + conv_b(ReLU(conv_a(h)))."""
        inner = self.g.relu(self.branch_conv(maps, f"{layer}.conv_a"))
        return str(self.g.add("Add", self.branch_conv(inner, f"{layer}.conv_b"), maps))

    def stitch(self, maps: Value, name: str) -> Value:
        """Append a cross-stitch unit."""
        settings, n = self.config.cross_stitch, self.branches
        if settings.kind == "off" or n == 1:
            return maps
        channels = self.config.widths[int(name.rpartition(".")[2])]
        matrix = self.weights.get(f"{name}.matrix")  # (N, N, C)
        if matrix is None:
            matrix = even_matrix(n, channels, settings.a).numpy()
        kernel = np.zeros((n, channels, n, channels), np.float32)
        kernel[:, range(channels), :, range(channels)] = matrix.transpose(2, 0, 1)
        size = n * channels
        return self.convolve(
            maps, name, kernel.reshape(size, size, 1, 1), np.zeros(size, np.float32)
        )

    def enlarge(self, maps: Value) -> Value:
        """Append a pixel shuffle by 2."""
        return str(self.g.add("DepthToSpace", maps, blocksize=2, mode="CRD"))

    def finish(self, residual: Value, name: str) -> None:
        """Append pixel shuffle and the addition to the degraded image; name the result."""
        whole = self.enlarge(residual)
        self.g.nodes.append(helper.make_node("Add", ["degraded", whole], [name]))

    def write(self) -> list[onnx.NodeProto]:
        """Return the model's nodes."""
        g, n, scales = self.g, self.branches, len(self.config.widths)
        maps, skips = self.conv_in("degraded"), []
        for i in range(scales - 1):
            maps = self.stitch(self.block(maps, f"down.{i}"), f"stitch_down.{i}")
            skips.append(maps)
            maps = g.relu(self.branch_conv(maps, f"narrow.{i}", strides=[2, 2]))
        for i in range(2):
            maps = self.block(maps, f"bottom.{i}")
        maps = self.stitch(maps, f"stitch_down.{scales - 1}")
        first = maps
        for i in reversed(range(scales - 1)):
            maps = str(g.add("Add", self.enlarge(self.branch_conv(maps, f"rise.{i}")), skips[i]))
            if i == 0:
                maps = str(g.add("Add", maps, self.branch_conv(first, "again")))
            maps = self.stitch(self.block(maps, f"up.{i}"), f"stitch_up.{i}")
            if i == 1:
                first = self.enlarge(self.branch_conv(maps, "first"))
        last = self.branch_conv(maps, "last")
        parts = list(g.add("Split", last, outputs=n, axis=1, num_outputs=n))
        h: Value = str(g.add("Concat", last, maps, axis=1))
        for layer in ("head1", "head2", "head3"):
            weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
            h = self.convolve(h, layer, weight, bias)
            if layer != "head3":
                h = g.relu(h)
        self.finish(str(g.add("Add", h, g.add("Mean", *parts))), "restored")
        for task, residual in zip(self.config.tasks, parts, strict=True):
            self.finish(residual, task)
        return g.nodes


def export_unet(
    config: NetworkConfig,
    weights: dict[str, Tensor],
    path: Path,
    name: str,
    **about: Any,
) -> None:
    """Write a network over several scales as a model file; see the module.

    Args:
        config: the network's structure.
        weights: its state dict; of a veil estimator too, under names that begin with `VEIL_PREFIX`.
            No node reads those: the restorer runs the estimator, for nodes see windows.
        path: the .onnx file.
        name: the model's name.
        about: more for the record: training, licence.
    """
    writer = UNetWriter(config, weights)
    nodes = writer.write()
    veil = {key: value for key, value in writer.weights.items() if key.startswith(VEIL_PREFIX)}
    picture = ["batch", 3, "height", "width"]
    outputs = ["restored", *config.tasks]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("degraded", TensorProto.FLOAT, picture)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, picture) for n in outputs],
        [numpy_helper.from_array(value, key) for key, value in (writer.tensors | veil).items()],
    )
    depth = {"stages": STAGES, "recursions": 1}
    save_model(graph, describe(config, name, **about) | depth, path)
