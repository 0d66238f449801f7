"""A list of layers run in plain NumPy: slow, the reference for every engine."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cmudrn.models.layers import Layer, LayerList

Maps = NDArray[np.float32]


def run_layers(layers: LayerList, batch: Maps) -> dict[str, Maps]:
    """Return each output of a network for a batch, (B, 3, H, W) float32."""
    values = [batch.astype(np.float64)]
    for layer in layers.layers:
        values.append(_run(layer, [values[number] for number in layer.inputs]))
    return {name: values[number].astype(np.float32) for name, number in layers.outputs.items()}


def _run(layer: Layer, inputs: list[NDArray[np.float64]]) -> NDArray[np.float64]:  # noqa: C901
    x = inputs[0]
    match layer.operator:
        case "conv":
            return convolve(x, layer)
        case "conv_transpose":
            return convolve_transposed(x, layer)
        case "relu":
            return np.maximum(x, 0)
        case "leaky_relu":
            return np.where(x > 0, x, layer.slope * x)
        case "prelu":
            return np.where(x > 0, x, per_channel(layer) * x)
        case "gelu":
            return gelu(x)
        case "sigmoid":
            return 1 / (1 + np.exp(-x))
        case "add":
            return x + inputs[1]
        case "mul":
            return x * (inputs[1] if layer.weight is None else per_channel(layer))
        case "concat":
            return np.concatenate(inputs, axis=1)
        case "slice":
            return x[:, layer.start : layer.start + layer.count]
        case "pixel_shuffle":
            return shuffle(x, layer)
        case "pixel_unshuffle":
            return unshuffle(x, layer)
        case "upsample_nearest":
            return x.repeat(2, axis=2).repeat(2, axis=3)
    raise AssertionError(layer.operator)


def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    erf: NDArray[np.float64] = np.vectorize(math.erf)(x / math.sqrt(2))
    return x / 2 * (1 + erf)


def per_channel(layer: Layer) -> Maps:
    assert layer.weight is not None
    return layer.weight[None, :, None, None]


def convolve(x: NDArray[np.float64], layer: Layer) -> NDArray[np.float64]:
    """Cross-correlation, as ONNX defines Conv."""
    weight = layer.weight
    assert weight is not None
    pad, stride, kernel = layer.pad, layer.stride, weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    windows = windows[:, :, ::stride, ::stride]
    out, into = weight.shape[0] // layer.groups, weight.shape[1]
    parts = [
        np.einsum(
            "bchwij,ocij->bohw",
            windows[:, group * into : (group + 1) * into],
            weight[group * out : (group + 1) * out].astype(np.float64),
        )
        for group in range(layer.groups)
    ]
    return add_bias(np.concatenate(parts, 1), layer)


def convolve_transposed(x: NDArray[np.float64], layer: Layer) -> NDArray[np.float64]:
    """Each value spreads over a kernel, as ONNX defines ConvTranspose."""
    weight = layer.weight
    assert weight is not None
    pad, stride, kernel = layer.pad, layer.stride, weight.shape[2]
    batch, channels, height, width = x.shape
    out, into = weight.shape[1], channels // layer.groups
    size = ((height - 1) * stride + kernel, (width - 1) * stride + kernel)
    result = np.zeros((batch, out * layer.groups, *size))
    for group in range(layer.groups):
        own, made = slice(group * into, (group + 1) * into), slice(group * out, (group + 1) * out)
        for i in range(kernel):
            for j in range(kernel):
                spread = np.einsum("bchw,co->bohw", x[:, own], weight[own, :, i, j])
                rows = slice(i, i + stride * height, stride)
                result[:, made, rows, j : j + stride * width : stride] += spread
    return add_bias(result[:, :, pad : size[0] - pad, pad : size[1] - pad], layer)


def add_bias(x: NDArray[np.float64], layer: Layer) -> NDArray[np.float64]:
    return x if layer.bias is None else x + layer.bias[None, :, None, None]


def shuffle(x: NDArray[np.float64], layer: Layer) -> NDArray[np.float64]:
    batch, channels, height, width = x.shape
    r, c = layer.block, channels // layer.block**2
    if layer.order == "CRD":
        parts = x.reshape(batch, c, r, r, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(batch, r, r, c, height, width).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(batch, c, height * r, width * r)


def unshuffle(x: NDArray[np.float64], layer: Layer) -> NDArray[np.float64]:
    batch, c, height, width = x.shape
    r = layer.block
    parts = x.reshape(batch, c, height // r, r, width // r, r)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(batch, c * r * r, height // r, width // r)
