"""What the networks of other authors cost: parameters, multiply-adds, time for a megapixel.

    python benchmarks/comparator_costs.py
    python benchmarks/comparator_costs.py --onnx ffmpeg=derain.onnx

No weight file is needed: the time does not depend on the weights, which are those of networks
that were not trained. The picture has 192 x 256 pixels; that of HDCW-Net has 480 x 640, the only
size that it takes. Networks run as `cmudrn evaluate` runs them: in PyTorch; models of this project
and ONNX files by their engine.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cmudrn.engines import open_engine
from cmudrn.evaluation.costs import Cost, model_cost
from cmudrn.evaluation.foreign_costs import foreign_cost
from cmudrn.image import Image, to_batch
from cmudrn.networks.comparators import hdcwnet, tkl
from cmudrn.networks.comparators.airnet import AirNet
from cmudrn.networks.comparators.costs import count_macs
from cmudrn.networks.comparators.harness import Harness, HdcwHarness
from cmudrn.networks.comparators.prenet import PReNet
from cmudrn.restoration import Restorer

SIZE = (192, 256)
MODELS = ("cmudrn", "cmudrn-25k", "drn-rain-7")
ENOUGH_SECONDS = 10.0
"""A network that takes longer than this is timed once."""

HDCW = "HDCW-Net"

Restore = Callable[[Image], object]


def networks() -> Iterator[tuple[str, Cost, Restore]]:
    """Yield the networks that run in PyTorch: name, cost, call."""
    border = [side + 2 * hdcwnet.BORDER for side in hdcwnet.PICTURE]
    airnet = AirNet()
    needed = nn.ModuleList([airnet.R, airnet.encoder.E_pre])
    hdcw = hdcwnet.HDCWNet((border[0], border[1]))
    plain = {
        "TKL": Harness(tkl.TKL(), tkl.MULTIPLE, tkl.SMALLEST),
        "PReNet": Harness(PReNet()),
        "PReNet_r": Harness(PReNet(shared=True)),
        "PRN": Harness(PReNet(recurrent=False)),
        "PRN_r": Harness(PReNet(recurrent=False, shared=True)),
    }
    for name, harness in plain.items():
        yield name, _cost(harness.network, harness.network, (256, 256)), _in_torch(harness)
    cost = _cost(hdcw, hdcw, (border[0], border[1]), math.prod(hdcwnet.PICTURE))
    yield HDCW, cost, _in_torch(HdcwHarness(hdcw, eight_bit=True))
    yield "AirNet", _cost(needed, airnet, (256, 256)), _in_torch(Harness(airnet))


def _cost(
    weights: nn.Module, network: nn.Module, sides: tuple[int, int], pixels: int | None = None
) -> Cost:
    parameters = sum(parameter.numel() for parameter in weights.parameters())
    return Cost(parameters, round(count_macs(network, *sides) / (pixels or sides[0] * sides[1])))


def _in_torch(harness: nn.Module) -> Restore:
    harness.eval()
    return lambda image: harness(torch.from_numpy(to_batch(image))).fused


def models(threads: int | None, files: list[str]) -> Iterator[tuple[str, Cost, Restore]]:
    """Yield models of this project and ONNX files of others, likewise."""
    for name in MODELS:
        engine = open_engine(name, threads=threads, precision="fp32")
        yield name, model_cost(engine.info), Restorer(engine)
    for text in files:
        name, _, path = text.rpartition("=")
        engine = open_engine(path, threads=threads, precision="fp32")
        yield name or Path(path).name, foreign_cost(path), Restorer(engine)


def seconds(restore: Restore, image: Image, repeats: int) -> float:
    """Return the median time of a call; the first of several does not count."""
    times: list[float] = []
    while len(times) <= repeats:
        start = time.perf_counter()
        restore(image)
        times.append(time.perf_counter() - start)
        if times[-1] > ENOUGH_SECONDS:
            return times[-1]
    return statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--onnx", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    print("| network | parameters | MAC a pixel | ms a megapixel |\n|---|---|---|---|")
    with torch.inference_mode():
        for some in (models(given.threads, given.onnx), networks()):
            for name, cost, restore in some:
                height, width = hdcwnet.PICTURE if name == HDCW else SIZE
                image = rng.random((height, width, 3), dtype=np.float32)
                pace = 1e9 * seconds(restore, image, given.repeats) / (height * width)
                print(f"| {name} | {cost.parameters:,} | {cost.macs:,} | {pace:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
