"""Measure what a training step waits for, and what keeping freed memory saves.

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/training_speed.py

Steps of the preset on noise, in interleaved rounds: with memory that glibc gives back to the system
after each step, as before, and with memory that is kept. Then the parts of a step, and the data of
a step in one process.

    torchrun --standalone --nproc-per-node=2 benchmarks/training_speed.py --threads 1

times the steps of two processes that share each batch.

    python benchmarks/training_speed.py --preset cmudrn-paper --precision bf16 [--unrecorded]

times recorded steps on a CUDA card, or steps that are launched kernel by kernel.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cmudrn.training.config import load_config
from cmudrn.training.data.batches import StepBatches
from cmudrn.training.data.sources import make_sources
from cmudrn.training.distributed import join_process_group
from cmudrn.training.loop import Run
from cmudrn.training.memory import give_back_memory, keep_memory


def noise(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a degraded and a clean patch."""
    clean = rng.random((size, size, 3), np.float32)
    return np.clip(clean + 0.1 * rng.random((size, size, 3), np.float32), 0, 1), clean


def milliseconds(call: Callable[..., object], *arguments: object) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call(*arguments)
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cmudrn-unet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of a round, each way")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or auto")
    parser.add_argument("--threads", type=int, default=0, help="of a process; 0 is all")
    parser.add_argument("--unrecorded", action="store_true", help="record no steps on a card")
    chosen = parser.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    config = load_config(chosen.preset, [f"training.precision={chosen.precision}"])
    sources = dict.fromkeys(config.data.sources, noise)
    processes = join_process_group()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config, Path(folder) / "run", sources, processes)
        run.records = run.records and not chosen.unrecorded
        batches = StepBatches(config, sources, processes.rank, processes.count)
        batch, step = batches[0], run._take_step  # noqa: SLF001
        times: dict[tuple[str, str], list[float]] = {}
        ways = [("given back", give_back_memory, False), ("kept", keep_memory, False)]
        if processes.device.type == "cpu" and not run.bf16:
            ways.append(("kept", keep_memory, True))
        for _ in range(chosen.rounds):
            for name, prepare, run.winograd in ways:
                prepare()
                step(batch)
                key = (name, "Winograd's" if run.winograd else "PyTorch's")
                times.setdefault(key, []).extend(
                    milliseconds(step, batch) for _ in range(chosen.steps)
                )
        with torch.profiler.profile() as profile:
            step(batch)
    processes.close()
    if not processes.first:
        return
    print("| memory | convolutions | ms a step, median | least | most |\n|---|---|---|---|---|")
    for key, values in times.items():
        print(f"| {' | '.join(key)} ", end="")
        print(f"| {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |")
    real = StepBatches(config, make_sources(config.data, 0), 0, 1)
    milliseconds(real.__getitem__, 0)
    values = [milliseconds(real.__getitem__, index) for index in range(1, 25)]
    print(f"the data of a step, on one core: {statistics.median(values):.0f} ms\n")
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))


if __name__ == "__main__":
    main()
