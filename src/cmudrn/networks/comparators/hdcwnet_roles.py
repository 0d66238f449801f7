"""Which weight of HDCW-Net is which in a Keras file: by the number in a layer's name, and by place.

A role is `BLOCK.classK`: K counts the layers of that class in the block in the order in which they
were made. `top` is what belongs to no block.
"""

from __future__ import annotations

from collections.abc import Iterator

BLOCKS = ("top", "x2L", "x2H0", "x2H1", "x1L", "x1H0", "x1H1")
"""In the order in which their layers were made."""

_COUNTS = {
    "top": {"conv2d": 12},
    "L": {"conv2d": 13, "batchnormalization": 8, "conv2dtranspose": 1},
    "H": {"conv2d": 25, "batchnormalization": 5, "conv2dtranspose": 3, "prelu": 1},
}

_ATTRIBUTES = {
    "conv2d": "convs",
    "batchnormalization": "norms",
    "conv2dtranspose": "ups",
    "prelu": "slopes",
}

WEIGHTS = {
    "conv2d": {"kernel": "weight", "bias": "bias"},
    "conv2dtranspose": {"kernel": "weight", "bias": "bias"},
    "batchnormalization": {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
    "prelu": {"alpha": "weight"},
}
"""Class -> its weights in Keras, in their order there, and their names in torch."""

NUMBERED = {"conv2d": "conv2d", "batch_normalization": "batchnormalization", "p_re_lu": "prelu"}
"""How the names of layers begin that Keras numbers in the order of creation, and their class."""

NAMED = {"deconv_1noSepL_2": "x2L.conv2dtranspose0", "deconv_1noSepL_1": "x1L.conv2dtranspose0"} | {
    f"deconvATT_{i + 1}noSepH{h + 1}_{stage}": f"x{stage}H{h}.conv2dtranspose{i}"
    for i in range(3)
    for h in range(2)
    for stage in (1, 2)
}
"""Layers to which their authors gave names."""


def class_of(role: str) -> str:
    """Return the class in `BLOCK.classK`."""
    name = role.partition(".")[2]
    return next(kind for kind in WEIGHTS if name.removeprefix(kind).isdigit())


def created(kind: str) -> list[str]:
    """Return the roles of a class in the order in which Keras numbered them."""
    return [
        f"{block}.{kind}{i}"
        for block in BLOCKS
        for i in range(_COUNTS[block if block == "top" else block[2]].get(kind, 0))
    ]


def _many(block: str, *layers: str) -> Iterator[str]:
    letters = {"c": "conv2d", "n": "batchnormalization", "t": "conv2dtranspose", "p": "prelu"}
    return (f"{block}.{letters[layer[0]]}{layer[1:]}" for layer in layers)


def _low_in_file(block: str) -> Iterator[str]:
    yield from _many(block, "c0", "c1", "c2")
    for i in range(8):
        yield from _many(block, f"c{3 + i}", f"n{i}")
    yield from _many(block, "c11", "t0", "c12")


def _high_in_file(*blocks: str) -> Iterator[str]:
    steps = ["c7 c8 c9 c0 c1 c2", "n2 n0", "c10 c11 c12 c3 c4 c5 c6", "n3 n1", "c13 c14 c15", "n4"]
    steps += ["t0 t1 t2", "c16 c17", "c18 c19", "c20", "c21", "c22", "c23", "c24", "p0"]
    for step in steps:
        for block in blocks:
            yield from _many(block, *step.split())


def in_file() -> list[str]:
    """Return the 192 roles in the order of a file: by depth, then by creation."""
    top = [f"top.conv2d{i}" for i in range(12)]
    return [
        *top[0:3],
        *top[6:9],
        *top[3:6],
        *_low_in_file("x2L"),
        *top[9:12],
        *_high_in_file("x2H0", "x2H1"),
        *_low_in_file("x1L"),
        *_high_in_file("x1H0", "x1H1"),
    ]


def torch_key(role: str, weight: str) -> str:
    """Return the name in our network's state of a weight, e.g. "kernel", of a role."""
    block, _, layer = role.partition(".")
    kind = class_of(role)
    index = "" if kind == "prelu" else f".{layer.removeprefix(kind)}"
    place = "" if block == "top" else f"{block}."
    return f"{place}{_ATTRIBUTES[kind]}{index}.{WEIGHTS[kind][weight]}"
