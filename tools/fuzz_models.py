"""Mutate model files, run those that are accepted, and print what happened.

    python tools/fuzz_models.py --count 10000 --seed 0

Each batch of files runs in its own process with a memory limit, so a crash costs only its batch and
is counted. A process that exceeds its time limit is stopped and counted too.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

BATCH = 250
MEMORY = 2 << 30
"""Bytes of address space that a process may have above what it starts with."""
SECONDS = 600


def main() -> None:
    """Run all batches and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("onnx", "native"), default="onnx")
    parser.add_argument("--batch", type=int, help="run this batch only, in this process")
    asked = parser.parse_args()
    if asked.batch is not None:
        print(json.dumps(run_batch(asked.seed, asked.batch, asked.engine)))
        return
    total: Counter[str] = Counter()
    slowest, peak, start = 0.0, 0, time.monotonic()
    for batch in range(-(-asked.count // BATCH)):
        command = [sys.executable, __file__, "--batch", str(batch), "--seed", str(asked.seed)]
        try:
            done = subprocess.run(
                [*command, "--engine", asked.engine], capture_output=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            total["hangs"] += 1
            continue
        if done.returncode:
            total["crashes"] += 1
            print(f"batch {batch}: {done.returncode} {done.stderr.decode()[-2000:]}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        total.update(found["outcomes"])
        slowest, peak = max(slowest, found["slowest"]), max(peak, found["peak_mb"])
    print(f"{dict(total)}; slowest file {slowest:.2f} s, peak memory {peak} MB, ", end="")
    print(f"{time.monotonic() - start:.0f} s in all")
    sys.exit(1 if total["crashes"] or total["hangs"] else 0)


def run_batch(seed: int, batch: int, name: str) -> dict[str, object]:
    """Return what became of one batch of files: outcomes, slowest file, peak memory."""
    import numpy as np
    from support.model_mutations import mutate_model
    from support.random_networks import random_network

    from cmudrn.engines.native import NativeEngine
    from cmudrn.engines.onnx import OnnxEngine
    from cmudrn.errors import CmudrnError
    from cmudrn.models.model_file import parse_model
    from cmudrn.models.onnx_writer import write_onnx
    from cmudrn.models.registry import shipped_models

    files = [model.path.read_bytes() for model in shipped_models().values()]
    files += [write_onnx(random_network(number)) for number in range(8)]
    rng = np.random.default_rng((seed, batch))
    image = rng.random((1, 3, 16, 16), np.float32)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(BATCH):
        data = mutate_model(files[int(rng.integers(len(files)))], rng)
        start = time.monotonic()
        try:
            model = parse_model(data, "mutated.onnx")
            engine = OnnxEngine(model, 1) if name == "onnx" else NativeEngine(model, 1)
            engine(image)
            outcomes["run"] += 1
        except CmudrnError as error:
            outcomes[type(error).__name__] += 1
        slowest = max(slowest, time.monotonic() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"outcomes": dict(outcomes), "slowest": slowest, "peak_mb": peak}


if __name__ == "__main__":
    main()
