"""Time every engine on one image, in interleaved rounds: a table for docs/speed.md.

    python benchmarks/engines.py --side 500

A round runs each engine once. Between the engines, loops of multiply-adds on registers measure the
processor's peak at that moment, because only times measured side by side can be compared on a
shared machine. Eager PyTorch gets its memory in huge pages; without them, page faults make it
several times slower at 1000x1000. The script restarts itself with the setting of glibc for this.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

HUGE_PAGES = "glibc.malloc.hugetlb=1"
if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") != HUGE_PAGES:
    os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch  # noqa: E402

from cmudrn.engines import open_engine  # noqa: E402
from cmudrn.engines.base import available_cores  # noqa: E402
from cmudrn.engines.native import peak_gflops  # noqa: E402
from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.models import find_model  # noqa: E402
from cmudrn.models.info import ModelInfo  # noqa: E402
from cmudrn.models.model_file import make_info, read_model_file  # noqa: E402
from cmudrn.networks.config import NetworkConfig  # noqa: E402
from cmudrn.networks.registry import make_network  # noqa: E402

Call = Callable[[], object]

ENGINES = (
    ("onnx", "fp32", ""),
    ("openvino", "fp32", ""),
    ("openvino", "bf16", ""),
    ("native", "fp32", "portable"),
    ("native", "fp32", "avx2"),
    ("native", "fp32", "avx512"),
    ("native", "bf16", "avx512bf16"),
)
"""Engine, precision, and the instruction set it is forced to."""

STRUCTURE = ("tasks", "features", "cross_stitch", "fusion", "relu_output")
"""What a model's record and a network's configuration both say."""


def torch_call(model: str, batch: np.ndarray, depth: int, compiled: bool) -> Call:
    """Return a call of the model in PyTorch."""
    file = read_model_file(find_model(model))
    record = make_info(file).metadata
    structure = {key: record[key] for key in STRUCTURE if key in record}
    config = NetworkConfig(kind=record["network"], stages=depth, recursions=depth, **structure)
    network = make_network(config).eval()
    tensors = {name: torch.from_numpy(array.copy()) for name, array in file.tensors.items()}
    network.load_state_dict(tensors, strict=False)
    run = torch.compile(network) if compiled else network
    tensor = torch.from_numpy(batch)

    def call() -> object:
        with torch.inference_mode():
            return run(tensor)

    return call


@contextmanager
def forced(instruction_set: str) -> Iterator[None]:
    """Have native engines that are opened meanwhile use this instruction set."""
    os.environ["CMUDRN_NATIVE_ISA"] = instruction_set
    yield
    del os.environ["CMUDRN_NATIVE_ISA"]


def candidates(model: str, batch: np.ndarray, depth: int, compiled: bool) -> dict[str, Call]:
    """Return every call that works on this machine, by name."""
    calls = {"PyTorch eager": torch_call(model, batch, depth, False)}
    if compiled:
        calls["torch.compile"] = torch_call(model, batch, depth, True)
    for name, precision, instruction_set in ENGINES:
        try:
            with forced(instruction_set):
                engine = open_engine(model, name, None, precision)
        except CmudrnError as error:
            print(f"{name} {precision} {instruction_set}: {error}", file=sys.stderr)
            continue
        label = f"{name} {precision} {instruction_set}".rstrip()
        calls[label] = lambda e=engine: e(batch, stages=depth, recursions=depth)
    return calls


def describe(info: ModelInfo, side: int, depth: int, peaks: dict[str, list[float]]) -> str:
    """Return one line: the model, the picture, the machine and its peaks."""
    stitch = info.metadata.get("cross_stitch", {})
    ranges = ", ".join(f"{name} {min(v):.0f} to {max(v):.0f}" for name, v in peaks.items())
    return (
        f"{info.name} ({info.network}, stitches {stitch.get('kind', 'none')}), {side}x{side}, "
        f"T = S = {depth}, {available_cores()} threads; peaks in GFLOP/s: {ranges}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    chosen = parser.parse_args()
    torch.set_num_threads(available_cores())
    shape = (1, 3, chosen.side, chosen.side)
    batch = np.random.default_rng(0).random(shape, np.float32)
    calls = candidates(chosen.model, batch, chosen.depth, not chosen.no_compile)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    peaks: dict[str, list[float]] = {}
    for call in calls.values():
        call()
    for _ in range(chosen.rounds):
        for precision in ("fp32", "bf16"):
            try:
                peaks.setdefault(precision, []).append(peak_gflops(precision=precision))
            except CmudrnError:
                peaks.pop(precision)
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    info = open_engine(chosen.model, "onnx").info
    print(describe(info, chosen.side, chosen.depth, peaks))
    first = statistics.median(seconds["PyTorch eager"])
    print(
        "| engine | ms, median | least | most | frames/s | times eager |\n|---|---|---|---|---|---|"
    )
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"| {name} | {1e3 * middle:.0f} | {1e3 * min(times):.0f} ", end="")
        print(f"| {1e3 * max(times):.0f} | {1 / middle:.2f} | {first / middle:.1f} |")


if __name__ == "__main__":
    main()
