"""Time every engine on one image, in interleaved rounds: a table for docs/speed.md.

    python benchmarks/engines.py --side 500

A round runs each engine once. Between the engines, loops of multiply-adds on registers measure the
processor's peak at that moment, because only times measured side by side can be compared on a
shared machine. Eager PyTorch gets its memory in huge pages; without them, page faults make it
several times slower at 1000x1000. The script restarts itself with the setting of glibc for this.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

HUGE_PAGES = "glibc.malloc.hugetlb=1"
if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") != HUGE_PAGES:
    os.environ["GLIBC_TUNABLES"] = HUGE_PAGES
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch  # noqa: E402
from shipped_network import open_network  # noqa: E402
from synthetic_unet import UNetBuilder  # noqa: E402

from cmudrn.engines import open_engine  # noqa: E402
from cmudrn.engines.base import available_cores  # noqa: E402
from cmudrn.engines.native import instruction_sets, peak_gflops  # noqa: E402
from cmudrn.errors import CmudrnError  # noqa: E402
from cmudrn.models import find_model, shipped_models  # noqa: E402
from cmudrn.models.info import ModelInfo  # noqa: E402
from cmudrn.models.model_file import make_info, read_model_file  # noqa: E402
from cmudrn.models.onnx_writer import write_onnx  # noqa: E402

Call = Callable[[], object]

ENGINES = (
    ("onnx", "fp32", ""),
    ("openvino", "fp32", ""),
    ("openvino", "bf16", ""),
    ("native", "fp32", "portable"),
    ("native", "fp32", "avx2"),
    ("native", "fp32", "avx512"),
    ("native", "fp32", "neon"),
    ("native", "bf16", "avx512bf16"),
    ("native", "bf16", "amxbf16"),
    ("native", "bf16", "neonbf16"),
)
"""Engine, precision, and the instruction set it is forced to."""


def torch_call(model: str, batch: np.ndarray, depth: int, compiled: bool) -> Call:
    """Return a call of the model in PyTorch."""
    network = open_network(model, depth)
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


def candidates(chosen: argparse.Namespace, info: ModelInfo, batch: np.ndarray) -> dict[str, Call]:
    """Return every call that works on this machine, by name."""
    calls: dict[str, Call] = {}
    model, depth = chosen.model, chosen.depth if info.adjustable else None
    if info.adjustable:
        calls["PyTorch eager"] = torch_call(model, batch, chosen.depth, False)
        if not chosen.no_compile:
            calls["torch.compile"] = torch_call(model, batch, chosen.depth, True)
    for name, precision, instruction_set in ENGINES:
        try:
            with forced(instruction_set):
                engine = open_engine(model, name, chosen.threads, precision)
        except CmudrnError as error:
            print(f"{name} {precision} {instruction_set}: {error}", file=sys.stderr)
            continue
        label = f"{name} {precision} {instruction_set}".rstrip()
        calls[label] = lambda e=engine: e(batch, stages=depth, recursions=depth)
    return calls


def measure_peaks(peaks: dict[str, list[float]], threads: int) -> None:
    """Add what every instruction set reaches in registers at this moment."""
    for precision in ("fp32", "bf16"):
        for name in instruction_sets(precision):
            with forced(name):
                rate = peak_gflops(100_000, threads, precision, tries=2)
            peaks.setdefault(name, []).append(rate)


def describe(info: ModelInfo, chosen: argparse.Namespace, peaks: dict[str, list[float]]) -> str:
    """Return one line: the model, the image, the machine and its peaks."""
    ranges = ", ".join(f"{name} {min(v):.0f} to {max(v):.0f}" for name, v in peaks.items())
    depth = f"T = S = {chosen.depth}, " if info.adjustable else ""
    clock = "processor time" if chosen.cpu_time else "elapsed time"
    return (
        f"{info.name} ({info.network}), {chosen.width}x{chosen.height}, {depth}"
        f"{chosen.threads} threads, {clock}; peaks in GFLOP/s: {ranges}"
    )


def table(seconds: dict[str, list[float]]) -> str:
    """Return the times as a table."""
    first = statistics.median(next(iter(seconds.values())))
    lines = [
        f"| engine | ms, median | least | most | frames/s | times {next(iter(seconds))} |",
        "|---|---|---|---|---|---|",
    ]
    for name, times in seconds.items():
        middle = statistics.median(times)
        lines.append(
            f"| {name} | {1e3 * middle:.0f} | {1e3 * min(times):.0f} | {1e3 * max(times):.0f} "
            f"| {1 / middle:.2f} | {first / middle:.1f} |"
        )
    return "\n".join(lines)


def write_between(path: Path, marker: str, text: str) -> None:
    """Replace what stands between a file's lines `<!-- marker -->` and `<!-- end marker -->`."""
    begin, end = f"<!-- {marker} -->\n", f"<!-- end {marker} -->"
    before, rest = path.read_text().split(begin)
    path.write_text(before + begin + text + "\n" + end + rest.split(end)[1])


def synthetic_unet(folder: str) -> Path:
    """Write a network of the shape of the multi-scale CMUDRN with random weights."""
    record = {
        "format": 2, "name": "synthetic-unet", "network": "cmudrn-unet",
        "tasks": ["rain", "snow"], "stages": 1, "recursions": 1, "elastic": False,
        "parameters": 1, "licence": "MIT",
    }  # fmt: skip
    path = Path(folder) / "synthetic-unet.onnx"
    path.write_bytes(write_onnx(UNetBuilder((24, 32, 48, 64)).network(), record=json.dumps(record)))
    return path


def options() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = "or synthetic-unet: random weights; or all: every shipped model, one after another"
    parser.add_argument("--model", default="cmudrn", help=names)
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--height", type=int, help="instead of the side")
    parser.add_argument("--width", type=int, help="instead of the side")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--cpu-time", action="store_true", help="where other programs run too")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--write", help="marker in docs/speed.md where the table goes")
    chosen = parser.parse_args()
    chosen.height, chosen.width = chosen.height or chosen.side, chosen.width or chosen.side
    return chosen


def main() -> None:
    chosen = options()
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        if chosen.model == "synthetic-unet":
            chosen.model = str(synthetic_unet(folder))
        models = list(shipped_models()) if chosen.model == "all" else [chosen.model]
        texts = [run(argparse.Namespace(**{**vars(chosen), "model": model})) for model in models]
    if chosen.write:
        document = Path(__file__).parents[1] / "docs" / "speed.md"
        write_between(document, chosen.write, "\n\n".join(texts))


def run(chosen: argparse.Namespace) -> str:
    """Measure and print one model; return what was printed."""
    info = make_info(read_model_file(find_model(chosen.model)))
    height, width = (
        -(-side // info.alignment) * info.alignment for side in (chosen.height, chosen.width)
    )
    chosen.height, chosen.width = height, width
    batch = np.random.default_rng(0).random((1, 3, height, width), np.float32)
    calls = candidates(chosen, info, batch)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    peaks: dict[str, list[float]] = {}
    clock = time.process_time if chosen.cpu_time else time.perf_counter
    for name, call in list(calls.items()):
        try:
            call()
        except RuntimeError:  # such as OpenVINO's, of bfloat16 on an instruction set without it
            print(f"{name} does not run here.", file=sys.stderr)
            del calls[name], seconds[name]
    for _ in range(chosen.rounds):
        measure_peaks(peaks, chosen.threads)
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    text = f"{describe(info, chosen, peaks)}\n\n{table(seconds)}"
    print(text, flush=True)
    return text


if __name__ == "__main__":
    main()
