"""Every way to run the network on one picture, interleaved: prints a table for docs/speed.md.

Eager PyTorch gets memory in huge pages (GLIBC_TUNABLES=glibc.malloc.hugetlb=1), without which
first-touch page faults make it several times slower at 1000x1000:

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python benchmarks/speed.py --side 500
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from cmudrn.config import NetworkConfig
from cmudrn.engines import find_model, open_engine
from cmudrn.engines.model_file import read_model_file
from cmudrn.engines.native import instruction_sets, peak_gflops
from cmudrn.errors import CmudrnError
from cmudrn.nn.networks import make_network

Call = Callable[[], object]


def eager(batch: np.ndarray, depth: int, compiled: bool) -> Call:
    network = make_network(NetworkConfig(stages=depth, recursions=depth)).eval()
    tensors = read_model_file(find_model("cmudrn")).tensors
    network.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()}, False)
    run = torch.compile(network) if compiled else network
    tensor = torch.from_numpy(batch)

    def call() -> object:
        with torch.inference_mode():
            return run(tensor)

    return call


def candidates(batch: np.ndarray, depth: int, compiled: bool) -> dict[str, Call]:
    calls = {"PyTorch eager": eager(batch, depth, False)}
    if compiled:
        calls["torch.compile"] = eager(batch, depth, True)
    for name, precision in (
        ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"),
        ("native", "fp32"), ("native", "bf16"),
    ):  # fmt: skip
        try:
            engine = open_engine("cmudrn", name, None, precision)
        except CmudrnError as error:
            print(f"{name} {precision}: {error}")
            continue
        calls[f"{name} {precision}"] = lambda e=engine: e(batch, stages=depth, recursions=depth)
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    chosen = parser.parse_args()
    shape = (1, 3, chosen.side, chosen.side)
    batch = np.random.default_rng(0).random(shape, np.float32)
    calls = candidates(batch, chosen.depth, chosen.compile)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    peaks = []
    for call in calls.values():
        call()
    for _ in range(chosen.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
        peaks.append(peak_gflops(500_000) if instruction_sets() else 0.0)
    first = statistics.median(seconds["PyTorch eager"])
    print(f"{chosen.side}x{chosen.side}, T = S = {chosen.depth}; ", end="")
    print(f"fp32 peak {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s")
    print("| engine | ms, median | least | frames/s | times eager |\n|---|---|---|---|---|")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"| {name} | {1e3 * middle:.0f} | {1e3 * min(times):.0f} ", end="")
        print(f"| {1 / middle:.2f} | {first / middle:.1f} |")


if __name__ == "__main__":
    main()
