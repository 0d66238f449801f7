"""A network as an ONNX file that runs any number of stages and recursions.

The graph is written by hand, for two reasons: its two Loop operators take T and S as inputs, and
every weight is one initializer under its name in the state dict, shared by all stages.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from cmudrn.files import atomic_file
from cmudrn.models.record import FORMAT
from cmudrn.networks.config import NetworkConfig
from cmudrn.networks.registry import count_parameters, macs_per_pixel, make_network

OPSET = 18
IR_VERSION = 9

Value = str
"""The name of a tensor in the graph."""


@dataclass
class Nodes:
    """The nodes of one graph (the model, or the body of a loop) while it is written.

    Attributes:
        scope: prefix of the names made here; ONNX wants them unique over nested graphs.
    """

    scope: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node and return its output's name (names, where there are several)."""
        stem = f"{self.scope}{operator.lower()}_{len(self.nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: Value, layer: str, kernel: int = 3) -> Value:
        """Append the convolution whose weights are `layer`.weight and `layer`.bias."""
        return str(
            self.add(
                "Conv",
                x,
                f"{layer}.weight",
                f"{layer}.bias",
                kernel_shape=[kernel] * 2,
                pads=[kernel // 2] * 4,
            )
        )

    def relu(self, x: Value) -> Value:
        """Append a ReLU."""
        return str(self.add("Relu", x))


@dataclass(frozen=True)
class GraphWriter:
    """Writes the graph of one network; each method mirrors its counterpart in `nn`.

    Attributes:
        config: the network's structure.
    """

    config: NetworkConfig

    @property
    def prefixes(self) -> list[str]:
        """What each branch's weights are called: "branches.0." and so on, "" for a lone DRN."""
        if self.config.kind == "cmudrn":
            return [f"branches.{i}." for i in range(len(self.config.tasks))]
        return [""]

    @property
    def estimates(self) -> int:
        """How many pictures a stage makes and hands on to the next."""
        return 1 if self.config.kind == "drn" else len(self.config.tasks)

    @property
    def merged(self) -> bool:
        """Whether all branches hold the same map throughout a stage, so that one is enough."""
        stitch, branches = self.config.cross_stitch, len(self.prefixes)
        return branches == 1 or (
            stitch.kind == "fixed"
            and abs(stitch.a - 1 / branches) < 1e-12
            and {"in", "rb1", "rb2"} <= set(stitch.positions)
        )

    def stitch(self, g: Nodes, position: str, maps: list[Value]) -> list[Value]:
        """Append a cross-stitch unit."""
        settings, n = self.config.cross_stitch, len(maps)
        if n == 1 or settings.kind == "off" or position not in settings.positions:
            return maps
        if settings.kind == "learned":
            return [
                str(
                    g.add(
                        "Sum",
                        *(
                            g.add("Mul", f"stitches.{position}.matrix.{i}.{j}", h)
                            for j, h in enumerate(maps)
                        ),
                    )
                )
                for i in range(n)
            ]
        if abs(settings.a - 1 / n) < 1e-12:
            return [str(g.add("Mul", g.add("Sum", *maps), "stitch.own"))] * n
        own = [g.add("Mul", h, "stitch.own") for h in maps]
        others = [g.add("Mul", h, "stitch.other") for h in maps]
        return [
            str(g.add("Sum", own[i], *(others[j] for j in range(n) if j != i))) for i in range(n)
        ]

    def split_matrices(self, g: Nodes) -> None:
        """Append what cuts each learned stitch into weights that multiply a map."""
        settings, n = self.config.cross_stitch, len(self.prefixes)
        if settings.kind != "learned" or n == 1:
            return
        for position, i, j in itertools.product(settings.positions, range(n), range(n)):
            row = g.add("Gather", f"stitches.{position}.matrix", f"stitch.index.{i}", axis=0)
            cell = g.add("Gather", row, f"stitch.index.{j}", axis=0)
            name = f"stitches.{position}.matrix.{i}.{j}"
            g.nodes.append(helper.make_node("Unsqueeze", [cell, "stitch.axes"], [name]))

    def block(self, g: Nodes, prefix: str, block: str, h: Value) -> Value:
        """Append a residual block."""
        inner = g.relu(g.conv(h, f"{prefix}{block}.conv_a"))
        return str(g.add("Add", h, g.relu(g.conv(inner, f"{prefix}{block}.conv_b"))))

    def recursion(self, scope: str) -> onnx.GraphProto:
        """Return the body of the inner loop: two residual blocks a branch, and their stitches."""
        g = Nodes(scope)
        carried = [f"{scope}h{i}" for i in range(1 if self.merged else len(self.prefixes))]
        maps = carried * (len(self.prefixes) // len(carried))
        for block, position in (("block1", "rb1"), ("block2", "rb2")):
            maps = [self.block(g, p, block, h) for p, h in zip(self.prefixes, maps, strict=True)]
            maps = self.stitch(g, position, maps)
        return _loop_body(g, scope, carried, maps[: len(carried)])

    def stage(self, scope: str) -> onnx.GraphProto:
        """Return the body of the outer loop: every branch's next estimate."""
        g = Nodes(scope)
        carried = [f"{scope}x{i}" for i in range(self.estimates)]
        shared = self.config.kind == "shared-trunk"
        entering = [g.add("Mean", *carried)] if shared else carried
        maps = [
            g.relu(g.conv(g.add("Concat", "degraded", x, axis=1), f"{prefix}conv_in"))
            for prefix, x in zip(self.prefixes, entering, strict=True)
        ]
        maps = self.stitch(g, "in", maps)
        kept = maps[:1] if self.merged else maps
        looped = g.add(
            "Loop",
            "recursions",
            "",
            *kept,
            outputs=len(kept),
            body=self.recursion(f"{scope}recursion."),
        )
        looped = [looped] if len(kept) == 1 else looped
        maps = self.stitch(g, "rec", looped * (len(maps) // len(kept)))
        layers = [f"{prefix}conv_out" for prefix in self.prefixes]
        if shared:
            layers = [f"heads.{i}" for i in range(self.estimates)]
            maps *= self.estimates
        estimates = [
            self.stage_estimate(g, h, layer) for h, layer in zip(maps, layers, strict=True)
        ]
        return _loop_body(g, scope, carried, self.stitch(g, "img", estimates))

    def stage_estimate(self, g: Nodes, h: Value, layer: str) -> Value:
        """Append a stage's last convolution and its skip from the degraded picture."""
        residual = g.conv(h, layer)
        return str(
            g.add("Add", "degraded", g.relu(residual) if self.config.relu_output else residual)
        )

    def fuse(self, g: Nodes, estimates: list[Value]) -> Value:
        """Append the fusion head."""
        k = self.config.fusion.kernel
        h = g.relu(g.conv(g.add("Concat", *estimates, axis=1), "fusion.conv1", k))
        fused = g.conv(g.relu(g.conv(h, "fusion.conv2", k)), "fusion.conv3", k)
        if self.config.fusion.skip:
            fused = str(g.add("Add", fused, g.add("Mean", *estimates)))
        return fused

    def write(self) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return the model's nodes and the names of its outputs."""
        g = Nodes("")
        self.split_matrices(g)
        body = self.stage("stage.")
        count = self.estimates
        estimates = g.add("Loop", "stages", "", *["degraded"] * count, outputs=count, body=body)
        if count == 1:
            g.nodes.append(helper.make_node("Identity", [estimates], ["restored"]))
            return g.nodes, ["restored"]
        fused = self.fuse(g, estimates)
        names = {fused: "restored", **dict(zip(estimates, self.config.tasks, strict=True))}
        for old, new in names.items():
            g.nodes.append(helper.make_node("Identity", [old], [new]))
        return g.nodes, list(names.values())


def _loop_body(g: Nodes, scope: str, carried: list[Value], results: list[Value]) -> onnx.GraphProto:
    """Return a Loop body; each carried value becomes the result of the same place."""
    go_on = g.add("Identity", f"{scope}go_on_in")
    outputs = [str(g.add("Identity", value)) for value in results]
    return helper.make_graph(
        g.nodes,
        scope.rstrip("."),
        [
            helper.make_tensor_value_info(f"{scope}count", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{scope}go_on_in", TensorProto.BOOL, []),
            *(_picture(name, None) for name in carried),
        ],
        [
            helper.make_tensor_value_info(go_on, TensorProto.BOOL, []),
            *(_picture(name, None) for name in outputs),
        ],
    )


def _picture(name: str, channels: int | None) -> onnx.ValueInfoProto:
    shape = ["batch", channels, "height", "width"] if channels else None
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constants(config: NetworkConfig, nodes: list[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Yield the constants that the stitches of this network use."""
    a, others = config.cross_stitch.a, max(1, len(config.tasks) - 1)
    constants = {
        "stitch.own": np.float32(a),
        "stitch.other": np.float32((1 - a) / others),
        "stitch.axes": np.array([0, 2, 3]),
        **{f"stitch.index.{i}": np.int64(i) for i in range(len(config.tasks))},
    }
    used = set(_inputs(nodes))
    for name, value in constants.items():
        if name in used:
            yield numpy_helper.from_array(np.asarray(value), name)


def _inputs(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """Yield the names of all values that nodes and the loops within them read."""
    for node in nodes:
        yield from node.input
        for attribute in node.attribute:
            yield from _inputs(attribute.g.node)


def describe(config: NetworkConfig, name: str, **about: Any) -> dict[str, Any]:
    """Return the record that a model file carries about itself."""
    return {
        "format": FORMAT,
        "name": name,
        "network": config.kind,
        "tasks": list(config.tasks),
        "stages": config.stages,
        "recursions": config.recursions,
        "features": config.features,
        "cross_stitch": config.cross_stitch.model_dump(mode="json"),
        "fusion": config.fusion.model_dump(mode="json"),
        "relu_output": config.relu_output,
        "parameters": count_parameters(make_network(config)),
        "macs_per_pixel": macs_per_pixel(config),
        **config.model_dump(
            mode="json",
            include={"shared_recursions", "stage_reductions"},
            exclude_defaults=True,
        ),
        **about,
    }


def export_onnx(
    config: NetworkConfig, weights: dict[str, Tensor], path: Path, name: str, **about: Any
) -> None:
    """Write a network as a model file; the old file stays whole until the new one is.

    Inputs: degraded (B, 3, H, W) float32, stages and recursions (int64 scalars). Outputs:
    restored, and each task's branch under the task's name (none for a lone DRN).

    Args:
        config: the network's structure.
        weights: its state dict; of a context branch too, under names that begin with "context.".
            No node reads those: the restorer runs the branch, for nodes see windows.
        path: the .onnx file.
        name: the model's name.
        about: more for the record: elastic, training, licence.
    """
    nodes, outputs = GraphWriter(config).write()
    scalar = [
        helper.make_tensor_value_info(n, TensorProto.INT64, []) for n in ("stages", "recursions")
    ]
    weight_tensors = [
        numpy_helper.from_array(value.detach().cpu().contiguous().numpy(), key)
        for key, value in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [_picture("degraded", 3), *scalar],
        [_picture(n, 3) for n in outputs],
        [*weight_tensors, *_constants(config, nodes)],
    )
    save_model(graph, describe(config, name, **about), path)


def save_model(graph: onnx.GraphProto, record: dict[str, Any], path: Path) -> None:
    """Write a graph and its record as a model file; the old file stays whole until the new one is.

    Args:
        graph: of the network.
        record: what the file says about itself (`describe`).
        path: the .onnx file.
    """
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="cmudrn",
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {"cmudrn": json.dumps(record, sort_keys=True)})
    onnx.checker.check_model(model)
    with atomic_file(path) as file:
        file.write(model.SerializeToString())
