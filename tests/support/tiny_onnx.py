"""Tiny model files for tests, built from single operators as docs/file-formats.md describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TASKS = ("rain", "snow")
POSITIONS = ("in", "rb1", "rb2")


def make_weights(rng: np.random.Generator, scale: float, features: int) -> dict[str, np.ndarray]:
    """Return CMUDRN weights by state-dict name, normally distributed around the identity."""
    shapes = {}
    for branch in range(len(TASKS)):
        prefix = f"branches.{branch}."
        shapes[prefix + "conv_in"] = (features, 6)
        for block in ("block1", "block2"):
            for conv in ("conv_a", "conv_b"):
                shapes[f"{prefix}{block}.{conv}"] = (features, features)
        shapes[prefix + "conv_out"] = (3, features)
    shapes |= {"fusion.conv1": (features, 6), "fusion.conv2": (features,) * 2}
    shapes["fusion.conv3"] = (3, features)
    weights = {}
    for name, (out, inputs) in shapes.items():
        spread = scale / np.sqrt(9 * inputs)
        weights[name + ".weight"] = rng.normal(0, spread, (out, inputs, 3, 3)).astype(np.float32)
        weights[name + ".bias"] = rng.normal(0, 0.02, out).astype(np.float32)
    for colour in range(3):
        for branch in range(len(TASKS)):
            weights["fusion.conv1.weight"][colour, 3 * branch + colour, 1, 1] += 0.5
        weights["fusion.conv2.weight"][colour, colour, 1, 1] += 1
        weights["fusion.conv3.weight"][colour, colour, 1, 1] += 1
    return weights


class Graph:
    """Collects nodes; every method returns the name of its output."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"{self.prefix}{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, name: str, h: str) -> str:
        return self.add("Conv", h, f"{name}.weight", f"{name}.bias", pads=[1, 1, 1, 1])

    def relu_conv(self, name: str, h: str) -> str:
        return self.add("Relu", self.conv(name, h))

    def stitch(self, maps: list[str], a: float) -> list[str]:
        own, other = f"{self.prefix}own", f"{self.prefix}other"
        if not any(own in node.output for node in self.nodes):
            for name, value in ((own, a), (other, 1 - a)):
                constant = helper.make_tensor(name, TensorProto.FLOAT, [], [value])
                self.nodes.append(helper.make_node("Constant", [], [name], value=constant))
        return [
            self.add("Add", self.add("Mul", own, h), self.add("Mul", other, g))
            for h, g in zip(maps, reversed(maps), strict=True)
        ]

    def block(self, block: str, maps: list[str], a: float) -> list[str]:
        out = []
        for branch, h in enumerate(maps):
            name = f"branches.{branch}.{block}"
            inner = self.relu_conv(f"{name}.conv_b", self.relu_conv(f"{name}.conv_a", h))
            out.append(self.add("Add", h, inner))
        return self.stitch(out, a)


def _loop_body(graph: Graph, name: str, states: list[str], results: list[str]) -> onnx.GraphProto:
    keep = graph.add("Identity", f"{name}_go")
    return helper.make_graph(
        graph.nodes,
        name,
        [
            helper.make_tensor_value_info(f"{name}_i", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{name}_go", TensorProto.BOOL, []),
            *(helper.make_tensor_value_info(s, TensorProto.FLOAT, None) for s in states),
        ],
        [
            helper.make_tensor_value_info(keep, TensorProto.BOOL, []),
            *(helper.make_tensor_value_info(r, TensorProto.FLOAT, None) for r in results),
        ],
    )


def make_cmudrn(
    weights: dict[str, np.ndarray], *, a: float = 0.5, stages: int = 2, recursions: int = 2
) -> onnx.ModelProto:
    """Return a two-branch CMUDRN whose depth is chosen at run time by Loop operators."""
    inner = Graph("inner_")
    maps = inner.block("block2", inner.block("block1", ["h_rain", "h_snow"], a), a)
    inner_body = _loop_body(inner, "recursion", ["h_rain", "h_snow"], maps)

    outer = Graph("outer_")
    entered = [
        outer.relu_conv(f"branches.{k}.conv_in", outer.add("Concat", "degraded", x, axis=1))
        for k, x in enumerate(("x_rain", "x_snow"))
    ]
    entered = outer.stitch(entered, a)
    looped = outer.add("Loop", "recursions", "", *entered, outputs=2, body=inner_body)
    left = [
        outer.add("Add", "degraded", outer.conv(f"branches.{k}.conv_out", h))
        for k, h in enumerate(looped)
    ]
    outer_body = _loop_body(outer, "stage", ["x_rain", "x_snow"], left)

    top = Graph("top_")
    top.nodes.append(
        helper.make_node(
            "Loop", ["stages", "", "degraded", "degraded"], list(TASKS), body=outer_body
        )
    )
    h = top.relu_conv("fusion.conv1", top.add("Concat", *TASKS, axis=1))
    h = top.conv("fusion.conv3", top.relu_conv("fusion.conv2", h))
    top.nodes.append(helper.make_node("Identity", [h], ["restored"]))
    record = {
        "format": 1, "name": "tiny", "network": "cmudrn", "tasks": list(TASKS),
        "stages": stages, "recursions": recursions, "elastic": True,
        "features": weights["branches.0.conv_in.bias"].size,
        "cross_stitch": {"kind": "fixed", "a": a, "positions": list(POSITIONS)},
        "fusion": {"kernel": 3, "skip": False},
        "parameters": sum(value.size for value in weights.values()),
        "training": {}, "licence": "MIT",
    }  # fmt: skip
    return make_model(top.nodes, ("restored", *TASKS), weights, record)


def make_model(
    nodes: list[onnx.NodeProto],
    outputs: tuple[str, ...],
    weights: dict[str, np.ndarray],
    record: dict[str, Any] | None,
) -> onnx.ModelProto:
    """Return a checked model; the scalar inputs exist where a record is given."""
    shape = ["N", 3, "H", "W"]
    scalars = ("stages", "recursions") if record else ()
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("degraded", TensorProto.FLOAT, shape),
            *(helper.make_tensor_value_info(s, TensorProto.INT64, []) for s in scalars),
        ],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, shape) for o in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if record:
        helper.set_model_props(model, {"cmudrn": json.dumps(record)})
    onnx.checker.check_model(model)
    return model


def make_far_sighted_weights(features: int = 8) -> dict[str, np.ndarray]:
    """Return weights whose convolutions look down right only, and mostly there, so that every
    output pixel depends strongly on the pixel at the very corner of its receptive field.
    """
    weights = make_weights(np.random.default_rng(3), 1.0, features)
    for name, value in weights.items():
        if name.endswith(".bias"):
            value[:] = 0
            continue
        gain = 2.0 if ".block" in name else 1e-3 if "conv_out" in name else 0.7
        corner = np.abs(value).sum(axis=(2, 3))
        value[:] = 0
        value[:, :, 2, 2] = gain * corner / corner.sum(axis=1, keepdims=True)
    return weights


def make_identity_weights(features: int = 8) -> dict[str, np.ndarray]:
    """Return weights with which the network returns its input (for values from 0 up)."""
    weights = make_weights(np.random.default_rng(0), 0.0, features)
    for name, value in weights.items():
        if name.endswith(".bias"):
            value[:] = 0
    return weights


def make_darkening_weights(features: int = 8) -> dict[str, np.ndarray]:
    """Return weights with which the rain branch darkens by 0.1 and the snow branch by 0.3."""
    weights = make_identity_weights(features)
    weights["branches.0.conv_out.bias"][:] = -0.1
    weights["branches.1.conv_out.bias"][:] = -0.3
    return weights


def make_foreign() -> onnx.ModelProto:
    """Return a model of another project: one image input, one output, 1 - x."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    nodes = [
        helper.make_node("Constant", [], ["one"], value=one),
        helper.make_node("Sub", ["one", "degraded"], ["out"]),
    ]
    return make_model(nodes, ("out",), {}, None)


def save(model: onnx.ModelProto, path: Path) -> Path:
    """Write the model and return the path."""
    path.write_bytes(model.SerializeToString())
    return path
