"""Model files of other projects: what they cost, and one built as FFmpeg's derain filter's is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmudrn.engines import open_engine
from cmudrn.evaluation.costs import Cost
from cmudrn.evaluation.foreign_costs import foreign_cost
from cmudrn.restoration import Restorer

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

DILATIONS = (1, 1, 2, 4, 8, 1)
"""Of the 3x3 convolutions of the network that FFmpeg's filter derain was made for."""


def save(
    path: Path,
    nodes: list[Any],
    weights: dict[str, np.ndarray],
    sides: tuple[Any, ...] = ("h", "w"),
    out: str = "y",
    batch: Any = 1,
) -> Path:
    picture = [batch, 3, *sides]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(0, 0.1, shape).astype(np.float32)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def with_conv(**attributes: Any) -> list[Any]:
    return [node("Conv", "x w b", "y", pads=[1] * 4, **attributes)]


def with_products() -> list[Any]:
    """Channels last, so that a matrix product sees them; then Gemm with its first input turned."""
    return [
        node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
        node("MatMul", "t w", "m"),
        node("Reshape", "m pixels", "flat"),
        node("Transpose", "flat", "turned", perm=[1, 0]),
        node("Gemm", "turned v", "y", transA=1),
    ]


CASES: dict[str, tuple[list[Any], dict[str, np.ndarray], tuple[Any, ...], Cost]] = {
    "no weights": ([node("Relu", "x", "y")], {}, ("h", "w"), Cost(0, 0)),
    "convolution": (with_conv(), {"w": draw(8, 3, 3, 3), "b": draw(8)}, ("h", "w"),
                    Cost(216 + 8, 216)),
    "with a step": (with_conv(strides=[2, 2]), {"w": draw(8, 3, 3, 3), "b": draw(8)}, ("h", "w"),
                    Cost(216 + 8, 54)),
    "in groups": (with_conv(group=3), {"w": draw(6, 1, 3, 3), "b": draw(6)}, (48, 80),
                  Cost(54 + 6, 54)),
    "one weight": ([node("Conv", "x w b", "y")], {"w": draw(1, 3, 1, 1), "b": draw(1)}, ("h", "w"),
                   Cost(4, 3)),
    "transposed": ([node("ConvTranspose", "x w", "y", strides=[2, 2])], {"w": draw(3, 5, 2, 2)},
                   ("h", "w"), Cost(60, 60)),
    "products": (with_products(), {"w": draw(3, 4), "v": draw(4, 7),
                                   "pixels": np.array([-1, 4], np.int64)}, ("h", "w"),
                 Cost(12 + 28, 12 + 28)),
    "no such size": ([node("Reshape", "x shape", "s"), node("Conv", "s w", "y")],
                     {"w": draw(2, 3, 1, 1), "shape": np.array([1, 3, 7, 11], np.int64)},
                     ("h", "w"), Cost(6, None)),
    "not counted": ([node("Einsum", "x w", "y", equation="bchw,cd->bdhw")], {"w": draw(3, 2)},
                    ("h", "w"), Cost(6, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_layer_is_counted(case: str, tmp_path: Path) -> None:
    nodes, weights, sides, cost = CASES[case]
    assert foreign_cost(save(tmp_path / "theirs.onnx", nodes, weights, sides)) == cost


def test_constants_count_as_weights(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(draw(4, 3, 1, 1), "value")
    nodes = [helper.make_node("Constant", [], ["w"], value=constant), node("Conv", "x w", "y")]
    assert foreign_cost(save(tmp_path / "theirs.onnx", nodes, {})) == Cost(12, 12)


def filter_weights(channels: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (kernel, bias) of each layer."""
    ins = [3, *[channels] * len(DILATIONS)]
    layers = [(draw(channels, ins[i], 3, 3), draw(channels)) for i in range(len(DILATIONS))]
    return [*layers, (draw(3, channels, 1, 1), draw(3))]


def save_filter(path: Path, layers: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    """Save a network of the structure and the conventions of FFmpeg's, with other weights.

    RGB in [0, 1] goes in as x, and the picture without rain, clipped to [0, 1], comes out as y.
    """
    nodes, last = [], "x"
    weights: dict[str, np.ndarray] = {}
    for number, ((kernel, bias), dilation) in enumerate(zip(layers, (*DILATIONS, 1), strict=True)):
        weights |= {f"w{number}": kernel, f"b{number}": bias}
        pads = [dilation * (kernel.shape[-1] // 2)] * 4
        nodes.append(
            node("Conv", f"{last} w{number} b{number}", f"c{number}", pads=pads,
                 dilations=[dilation] * 2)
        )  # fmt: skip
        last = f"c{number}"
        if number < len(DILATIONS):
            nodes.append(node("LeakyRelu", last, f"a{number}", alpha=0.2))
            last = f"a{number}"
    weights |= {"low": np.zeros((), np.float32), "high": np.ones((), np.float32)}
    nodes += [node("Sub", f"x {last}", "difference"), node("Clip", "difference low high", "y")]
    return save(path, nodes, weights)


def test_a_network_as_that_of_ffmpegs_filter_is_scored_as_it_is(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    layers = filter_weights(24)
    path = save_filter(tmp_path / "derain.onnx", layers)
    image = np.random.default_rng(0).random((61, 83, 3)).astype(np.float32)
    maps = given = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    for (kernel, bias), dilation in zip(layers, (*DILATIONS, 1), strict=True):
        maps = torch.nn.functional.conv2d(
            maps,
            torch.from_numpy(kernel),
            torch.from_numpy(bias),
            padding="same",
            dilation=dilation,
        )
        if kernel.shape[-1] == 3:
            maps = torch.nn.functional.leaky_relu(maps, 0.2)
    expected = (given - maps).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    restored = Restorer(open_engine(path))(image)
    assert np.abs(restored - expected).max() < 1e-5
    assert foreign_cost(path) == Cost(26_787, 26_640)
