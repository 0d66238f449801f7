"""The network over several scales as an ONNX file: a plain graph, with no loops and no `If`.

One input, `degraded` (B, 3, H, W) of any size: the graph pads it with its last row and column to
the next multiple of the alignment, and cuts the results. Outputs: `restored` and each task's last
estimate under the task's name; what nobody asks for is not computed.

The graph is the network's, put in the words of a few operators: pixel unshuffle and the first
convolution are one convolution of 6 x 6 with stride 2, a 1 x 1 convolution and pixel shuffle are a
transposed convolution or `DepthToSpace`, and a cross-stitch unit is a 1 x 1 convolution.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from cmudrn.config import NetworkConfig
from cmudrn.nn.cross_stitch import even_matrix
from cmudrn.nn.export import IR_VERSION, OPSET, Nodes, Value, describe
from cmudrn.nn.pyramid import SHUFFLE, alignment, radius

Layout = Literal["grouped", "apart"]
Floats = NDArray[np.float32]


class PyramidWriter:
    """Writes the graph; each method mirrors a part of `PyramidCMUDRN`.

    Args:
        config: the network's structure.
        weights: its state dict.
        layout: the branches' convolutions as one in groups, or each for itself.
        shuffle: write `DepthToSpace` behind 1 x 1 convolutions, not transposed convolutions.
    """

    def __init__(
        self,
        config: NetworkConfig,
        weights: dict[str, Tensor],
        layout: Layout = "grouped",
        *,
        shuffle: bool = True,
    ) -> None:
        self.config, self.layout, self.shuffle = config, layout, shuffle
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

    def own(self, layer: str, branch: int) -> tuple[Floats, Floats]:
        """Return weight and bias of a layer of one branch."""
        stem = f"{layer}.own.{branch}"
        return self.weights[f"{stem}.weight"], self.weights[f"{stem}.bias"]

    def branch_conv(self, maps: list[Value], layer: str, **more: Any) -> list[Value]:
        """Append a convolution of every branch; maps holds one tensor, or one for each branch."""
        pairs = [self.own(layer, i) for i in range(self.branches)]
        if self.layout == "apart":
            return [
                self.convolve(x, f"{layer}.{i}", w, b, **more)
                for i, (x, (w, b)) in enumerate(zip(maps, pairs, strict=True))
            ]
        weight = np.concatenate([w for w, _ in pairs])
        bias = np.concatenate([b for _, b in pairs])
        return [self.convolve(maps[0], layer, weight, bias, group=self.branches, **more)]

    def each(self, operator: str, *maps: list[Value], **attributes: Any) -> list[Value]:
        """Append an operator on every tensor of the lists."""
        return [str(self.g.add(operator, *xs, **attributes)) for xs in zip(*maps, strict=True)]

    def enter(self, degraded: Value) -> list[Value]:
        """Append pixel unshuffle and the first convolution, as one of 6 x 6 with stride 2."""
        kernels = []
        for i in range(self.branches):
            weight, bias = self.own("enter", i)
            out, side = len(weight), 3 * SHUFFLE
            split = weight.reshape(out, 3, SHUFFLE, SHUFFLE, 3, 3)
            kernels.append((split.transpose(0, 1, 4, 2, 5, 3).reshape(out, 3, side, side), bias))
        more = {"strides": [SHUFFLE] * 2, "pads": [SHUFFLE] * 4}
        if self.layout == "apart":
            made = [
                self.convolve(degraded, f"enter.{i}", w, b, **more)
                for i, (w, b) in enumerate(kernels)
            ]
        else:
            weight, bias = (np.concatenate([k[part] for k in kernels]) for part in (0, 1))
            made = [self.convolve(degraded, "enter", weight, bias, **more)]
        return self.each("Relu", made)

    def block(self, maps: list[Value], layer: str) -> list[Value]:
        """Append h + conv_b(ReLU(conv_a(h)))."""
        inner = self.each("Relu", self.branch_conv(maps, f"{layer}.conv_a"))
        return self.each("Add", self.branch_conv(inner, f"{layer}.conv_b"), maps)

    def stitch(self, maps: list[Value], name: str) -> list[Value]:
        """Append a cross-stitch unit."""
        settings, n = self.config.cross_stitch, self.branches
        if settings.kind == "off" or n == 1:
            return maps
        channels = self.config.widths[int(name.rpartition(".")[2])]
        matrix = self.weights.get(f"{name}.matrix")  # (N, N, C)
        if matrix is None:
            matrix = even_matrix(n, channels, settings.a).numpy()
        if self.layout == "grouped":
            kernel = np.zeros((n, channels, n, channels), np.float32)
            kernel[:, range(channels), :, range(channels)] = matrix.transpose(2, 0, 1)
            size = n * channels
            return [self.convolve(maps[0], name, kernel.reshape(size, size, 1, 1), None)]
        stitched = []
        for i in range(n):
            parts = [
                self.g.add(
                    "Mul", h, self.constant(f"{name}.{i}.{j}", matrix[i, j][None, :, None, None])
                )
                for j, h in enumerate(maps)
            ]
            stitched.append(
                str(self.g.add("Add", *parts)) if n == 2 else str(self.g.add("Sum", *parts))
            )
        return stitched

    def rise(self, maps: list[Value], layer: str) -> list[Value]:
        """Append a 1 x 1 convolution and a pixel shuffle by 2."""
        if self.shuffle:
            return self.enlarge(self.branch_conv(maps, layer))
        pairs = [self.own(layer, i) for i in range(self.branches)]
        kernels = [
            (w.reshape(-1, 2, 2, w.shape[1]).transpose(3, 0, 1, 2), b.reshape(-1, 4))
            for w, b in pairs
        ]
        made = []
        apart = self.layout == "apart"
        for i, x in enumerate(maps):
            mine = [kernels[i]] if apart else kernels
            weight = np.concatenate([w for w, _ in mine], 0)
            # A transposed convolution has one bias for all four places.
            if any(float(np.ptp(b, axis=1).max()) > 0 for _, b in mine):
                raise ValueError("the biases of a pixel shuffle differ by place")
            bias = np.concatenate([b[:, 0] for _, b in mine])
            names = [f"{layer}.{i}" if apart else layer]
            made.append(
                str(
                    self.g.add(
                        "ConvTranspose",
                        x,
                        self.constant(f"{names[0]}.weight", weight),
                        self.constant(f"{names[0]}.bias", bias),
                        strides=[2, 2],
                        kernel_shape=[2, 2],
                        group=1 if apart else self.branches,
                    )
                )
            )
        return made

    def enlarge(self, maps: list[Value]) -> list[Value]:
        """Append a pixel shuffle by 2."""
        return self.each("DepthToSpace", maps, blocksize=2, mode="CRD")

    def pad(self) -> Value:
        """Append what brings the picture's sides up to multiples of the alignment."""
        g, side = (
            self.g,
            self.constant("alignment", np.array([alignment(self.config)] * 2, np.int64)),
        )
        shape = g.add("Shape", "degraded", start=2)
        missing = g.add("Mod", g.add("Neg", shape), side)
        zeros = self.constant("no.padding", np.zeros(2, np.int64))
        pads = g.add("Concat", zeros, missing, axis=0)
        axes = self.constant("sides", np.array([2, 3], np.int64))
        return str(g.add("Pad", "degraded", pads, "", axes, mode="edge"))

    def finish(self, residual: Value, name: str) -> None:
        """Append pixel shuffle, cut and addition to the degraded picture; name the result."""
        g = self.g
        whole = self.enlarge([residual])[0]
        shape = g.add("Shape", "degraded", start=2)
        start = self.constant("no.padding", np.zeros(2, np.int64))
        axes = self.constant("sides", np.array([2, 3], np.int64))
        cut = g.add("Slice", whole, start, shape, axes)
        g.nodes.append(helper.make_node("Add", ["degraded", cut], [name]))

    def write(self) -> list[onnx.NodeProto]:
        """Return the model's nodes."""
        g, n, scales = self.g, self.branches, len(self.config.widths)
        maps, skips = self.enter(self.pad()), []
        for i in range(scales - 1):
            maps = self.stitch(self.block(maps, f"down.{i}"), f"stitch_down.{i}")
            skips.append(maps)
            maps = self.each("Relu", self.branch_conv(maps, f"narrow.{i}", strides=[2, 2]))
        for i in range(2):
            maps = self.block(maps, f"bottom.{i}")
        maps = self.stitch(maps, f"stitch_down.{scales - 1}")
        first: list[Value] = []
        for i in reversed(range(scales - 1)):
            maps = self.each("Add", self.rise(maps, f"rise.{i}"), skips[i])
            if i == 0:
                maps = self.each("Add", maps, self.branch_conv(first, "again"))
            maps = self.stitch(self.block(maps, f"up.{i}"), f"stitch_up.{i}")
            if i == 1:
                first = self.enlarge(self.branch_conv(maps, "first"))
        last = self.branch_conv(maps, "last")
        parts = last
        if self.layout == "grouped":
            parts = list(g.add("Split", last[0], outputs=n, axis=1, num_outputs=n))
        h: Value = str(g.add("Concat", *last, *maps, axis=1))
        for layer in ("head1", "head2", "head3"):
            weight, bias = self.weights[f"{layer}.weight"], self.weights[f"{layer}.bias"]
            h = self.convolve(h, layer, weight, bias)
            if layer != "head3":
                h = g.relu(h)
        mean = g.add("Mean", *parts)
        self.finish(str(g.add("Add", h, mean)), "restored")
        for task, residual in zip(self.config.tasks, parts, strict=True):
            self.finish(residual, task)
        return g.nodes


def export_pyramid(
    config: NetworkConfig,
    weights: dict[str, Tensor],
    path: Path,
    name: str,
    layout: Layout = "grouped",
    **about: Any,
) -> None:
    """Write a network over several scales as a model file; see the module.

    Args:
        config: the network's structure.
        weights: its state dict.
        path: the .onnx file.
        name: the model's name.
        layout: see `PyramidWriter`.
        about: more for the record: training, licence.
    """
    writer = PyramidWriter(config, weights, layout)
    nodes = writer.write()
    picture = ["batch", 3, "height", "width"]
    outputs = ["restored", *config.tasks]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("degraded", TensorProto.FLOAT, picture)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, picture) for n in outputs],
        [numpy_helper.from_array(value, key) for key, value in writer.tensors.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="cmudrn",
        ir_version=IR_VERSION,
    )
    places = {"alignment": alignment(config), "radius": radius(config)}
    record = describe(config, name, **about) | places
    helper.set_model_props(model, {"cmudrn": json.dumps(record, sort_keys=True)})
    onnx.checker.check_model(model)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(model.SerializeToString())
    os.replace(partial, path)
