"""A network of the shape of the multi-scale CMUDRN with random weights, as a list of layers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from cmudrn.models.layers import Layer, LayerList


class UNetBuilder:
    """Writes the layers of the network, branches side by side in groups."""

    def __init__(self, widths: tuple[int, ...], branches: int = 2, seed: int = 0) -> None:
        """Begin a network; `widths` are the channels of a branch at 1/2, 1/4, ... ."""
        self.widths, self.branches = widths, branches
        self.layers: list[Layer] = []
        self._rng = np.random.default_rng(seed)

    def add(self, operator: str, *inputs: int, **about: object) -> int:
        """Append a layer and return its value."""
        self.layers.append(Layer(operator, inputs, len(self.layers) + 1, **about))  # type: ignore[arg-type]
        return len(self.layers)

    def conv(
        self, x: int, inputs: int, outputs: int, kernel: int = 3, stride: int = 1,
        *, shared: bool = False, size: float = 1.0,
    ) -> int:  # fmt: skip
        """Append a convolution of `inputs` to `outputs` channels in every branch."""
        n = self.branches
        deviation = size / np.sqrt(inputs * kernel**2)
        weight = self._rng.normal(0, deviation, (n * outputs, inputs, kernel, kernel))
        return self.add(
            "conv", x, weight=weight.astype(np.float32),
            bias=self._rng.normal(0, 0.05, n * outputs).astype(np.float32),
            stride=stride, pad=kernel // 2, groups=1 if shared else n,
        )  # fmt: skip

    def relu(self, x: int) -> int:
        """Append a ReLU."""
        return self.add("relu", x)

    def block(self, x: int, width: int) -> int:
        """Append a residual block."""
        h = self.conv(self.relu(self.conv(x, width, width)), width, width, size=0.5)
        return self.add("add", x, h)

    def stitch(self, x: int, width: int) -> int:
        """Append a cross-stitch unit as a 1x1 convolution."""
        n = self.branches
        matrix = self._rng.dirichlet(np.ones(n), n)
        weight = np.kron(matrix, np.eye(width)).astype(np.float32)[:, :, None, None]
        return self.add("conv", x, weight=weight)

    def network(self) -> LayerList:
        """Return the whole network."""
        n, w, folded = self.branches, self.widths, 12
        x = self.add("pixel_unshuffle", 0, block=2)
        x = self.relu(self.conv(x, folded, w[0], shared=True))
        skips = []
        for here, below in pairwise(w):
            skips.append(self.stitch(self.block(x, here), here))
            x = self.relu(self.conv(skips[-1], here, below, stride=2))
        x = self.stitch(self.block(self.block(x, w[-1]), w[-1]), w[-1])
        first = x
        for i in reversed(range(len(skips))):
            x = self.conv(x, w[i + 1], 4 * w[i], 1)
            x = self.add("add", self.add("pixel_shuffle", x, block=2), skips[i])
            if i == 0:
                x = self.add("add", x, self.conv(first, folded, w[0]))
            x = self.stitch(self.block(x, w[i]), w[i])
            if i == 1:
                first = self.add("pixel_shuffle", self.conv(x, w[1], 4 * folded), block=2)
        last = self.conv(x, w[0], folded, size=0.1)
        return self._head(x, last, n * w[0])

    def _head(self, x: int, last: int, width: int) -> LayerList:
        """Append the fusion head and the images that are returned."""
        n, self.branches = self.branches, 1
        h = self.add("concat", last, x)
        h = self.relu(self.conv(h, 12 * n + width, 24, 1))
        h = self.conv(self.relu(self.conv(h, 24, 24)), 24, 12, size=0.1)
        shares = [self.add("slice", last, start=12 * i, count=12) for i in range(n)]
        mean = shares[0]
        for share in shares[1:]:
            mean = self.add("add", mean, share)
        mean = self.add("mul", mean, weight=np.full(12, 1 / n, np.float32))
        fused = self.add("pixel_shuffle", self.add("add", h, mean), block=2)
        outputs = {"restored": self.add("add", 0, fused)}
        for i, task in zip(range(n), ("rain", "snow"), strict=False):
            estimate = self.add("pixel_shuffle", shares[i], block=2)
            outputs[task] = self.add("add", 0, estimate)
        return LayerList(tuple(self.layers), outputs)
