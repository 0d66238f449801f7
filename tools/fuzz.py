"""Damage files at random, open them, and print what happened.

    python tools/fuzz.py pictures --count 10000
    python tools/fuzz.py clips --count 1000
    python tools/fuzz.py models --count 10000
    python tools/fuzz.py models --count 10000 --engine sanitized
    python tools/fuzz.py programs --count 10000

Pictures are read and written again in two formats. Clips are restored with a model that changes
nothing. Models are run by ONNX Runtime, or with `--engine native` by the native engine; with
`--engine sanitized` that is compiled with AddressSanitizer and UndefinedBehaviorSanitizer, and the
memory limit is that of the whole machine. Programs are what the native engine makes of models;
they run in its C++ alone, compiled likewise.

With `--keep FOLDER` the compiled library and what became of each batch stay there: a run that was
stopped goes on where it was when it is started again with the same options.

Every batch of files runs in a process of its own with a memory limit, so a crash costs only its
batch and is counted. A process that exceeds its time limit is stopped and counted too. Times are
those of the processor: they do not depend on what else it does.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]


SANITIZED_LIBRARY = "CMUDRN_FUZZ_LIBRARY"
"""Environment variable of the processes: the native engine with its sanitizers."""

WAIT_SECONDS = 3600
"""A process may take, however little of a processor it gets."""


@dataclass(frozen=True)
class Kind:
    """One kind of files.

    Attributes:
        prepare: returns what opens one damaged file, given random numbers, and says how that ended.
        batch: files of one process.
        memory: bytes of address space that a process may have above what it starts with.
        seconds: of processor time that a process may take.
    """

    prepare: Callable[[Path, str], Callable[[Any], str]]
    batch: int
    memory: int
    seconds: int


def _pictures(_folder: Path, _engine: str) -> Callable[[Any], str]:
    from support.mutations import mutate_picture, sample_files, try_picture

    files = sample_files()

    def run(rng: Any) -> str:
        data = mutate_picture(files[int(rng.integers(len(files)))], rng)
        return try_picture(data)

    return run


def _clips(folder: Path, _engine: str) -> Callable[[Any], str]:
    from support.clip_mutations import make_clips, mutate_clip, try_clip

    clips = make_clips(folder / "whole")

    def run(rng: Any) -> str:
        clip = clips[int(rng.integers(len(clips)))]
        path = folder / f"damaged{clip.suffix}"
        path.write_bytes(mutate_clip(clip.read_bytes(), rng))
        return try_clip(path, folder / "results")

    return run


def _models(_folder: Path, engine: str) -> Callable[[Any], str]:
    import numpy as np
    from support.model_mutations import mutate_model
    from support.random_networks import random_network

    from cmudrn.engines.native import NativeEngine, library
    from cmudrn.engines.onnx import OnnxEngine
    from cmudrn.errors import CmudrnError
    from cmudrn.models.model_file import parse_model
    from cmudrn.models.onnx_writer import write_onnx
    from cmudrn.models.registry import shipped_models

    files = [model.path.read_bytes() for model in shipped_models().values()]
    files += [write_onnx(random_network(number)) for number in range(8)]
    image = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    open_engine = OnnxEngine if engine == "onnx" else NativeEngine
    if engine == "sanitized":
        opened = library.open_library(Path(os.environ[SANITIZED_LIBRARY]))
        vars(library)["_load"] = lambda: opened

    def run(rng: Any) -> str:
        data = mutate_model(files[int(rng.integers(len(files)))], rng)
        try:
            open_engine(parse_model(data, "mutated.onnx"), 1)(image)
        except CmudrnError as error:
            return type(error).__name__
        return "run"

    return run


KINDS = {
    "pictures": Kind(_pictures, 500, 1 << 30, 120),
    "clips": Kind(_clips, 50, 2 << 30, 120),
    "models": Kind(_models, 250, 2 << 30, 120),
}


def main() -> None:
    """Run all batches and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kind", choices=(*KINDS, "programs"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("onnx", "native", "sanitized"), default="onnx")
    parser.add_argument("--batch", type=int, help="run this batch only, in this process")
    parser.add_argument("--keep", type=Path, help="folder of a run that can go on later")
    asked = parser.parse_args()
    if asked.kind == "programs":
        sys.exit(run_programs(asked.count))
    if asked.batch is not None:
        print(json.dumps(run_batch(asked.kind, asked.seed, asked.batch, asked.engine)))
        return
    with tempfile.TemporaryDirectory() as folder:
        keep = asked.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        sys.exit(run_batches(asked.kind, asked.count, asked.seed, asked.engine, keep))


def run_batches(name: str, count: int, seed: int, engine: str, keep: Path) -> int:
    """Run all batches of a kind, print the counts, and return the exit status."""
    kind = KINDS[name]
    total: Counter[str] = Counter()
    slowest, peak, start = 0.0, 0, time.monotonic()
    sanitizers = build_sanitized(keep) if engine == "sanitized" else {}
    for batch in range(-(-count // kind.batch)):
        kept = keep / f"{name}-{engine}-{seed}-{batch}.json"
        if not kept.exists():
            command = [sys.executable, __file__, name, "--batch", str(batch), "--seed", str(seed)]
            found = run_process([*command, "--engine", engine], batch, sanitizers)
            kept.write_text(json.dumps(found), encoding="utf-8")
        found = json.loads(kept.read_text(encoding="utf-8"))
        total.update(found["outcomes"])
        slowest, peak = max(slowest, found["slowest"]), max(peak, found["more_mb"])
    print(f"{dict(total)}; slowest file {slowest:.2f} s of processor time, ", end="")
    print(f"{peak} MB above the start, {time.monotonic() - start:.0f} s in all")
    return int(bool(total["crashes"] or total["hangs"] or total["left behind"]))


def run_process(command: list[str], batch: int, more: dict[str, str]) -> dict[str, Any]:
    """Run one batch in a process of its own; return what became of it."""
    bad: dict[str, Any] = {"slowest": 0.0, "more_mb": 0}
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TMPDIR": folder, "XDG_CACHE_HOME": folder, **more}
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=WAIT_SECONDS, env=environment
            )
        except subprocess.TimeoutExpired:
            print(f"batch {batch}: longer than {WAIT_SECONDS} s")
            return {**bad, "outcomes": {"hangs": 1}}
    if done.returncode:
        print(f"batch {batch}: {done.returncode} {done.stderr.decode()[-2000:]}")
        outcome = "hangs" if done.returncode == -signal.SIGXCPU else "crashes"
        return {**bad, "outcomes": {outcome: 1}}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def build_sanitized(folder: Path) -> dict[str, str]:
    """Build the native engine with sanitizers; return the environment of processes that load it."""
    from engines.test_native_sanitizers import SANITIZED, SOURCES

    path = folder / "sanitized.so"
    flags = ["-std=c++20", "-pthread", "-Wno-psabi", "-g1", "-fPIC", "-shared", *SANITIZED[:-1]]
    if not path.exists():
        command = ["g++", *flags, *map(str, SOURCES.glob("*.cpp")), "-o", f"{path}.part"]
        subprocess.run(command, check=True)
        Path(f"{path}.part").rename(path)
    found = [
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True).stdout
        for name in ("libasan.so", "libubsan.so")
    ]
    return {
        SANITIZED_LIBRARY: str(path),
        "LD_PRELOAD": " ".join(one.strip() for one in found),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has until it ends
    }


def run_batch(name: str, seed: int, batch: int, engine: str) -> dict[str, object]:
    """Return what became of one batch of files: outcomes, slowest file, memory."""
    import numpy as np

    kind = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        run = kind.prepare(Path(folder), engine)
        run(np.random.default_rng(0))  # libraries are loaded
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _peak_mb()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if engine != "sanitized":  # AddressSanitizer reserves terabytes
            resource.setrlimit(resource.RLIMIT_AS, (used + kind.memory, used + kind.memory))
        resource.setrlimit(resource.RLIMIT_CPU, (kind.seconds, kind.seconds))
        open_files = len(os.listdir("/proc/self/fd"))
        outcomes: Counter[str] = Counter()
        slowest, temporary = 0.0, set(os.listdir(tempfile.gettempdir()))
        for number in range(kind.batch):
            start = time.process_time()
            outcomes[run(np.random.default_rng((seed, batch, number)))] += 1
            slowest = max(slowest, time.process_time() - start)
        outcomes["left behind"] += len(set(os.listdir(tempfile.gettempdir())) - temporary)
        outcomes["left behind"] += max(0, len(os.listdir("/proc/self/fd")) - open_files)
    return {"outcomes": dict(outcomes), "slowest": slowest, "more_mb": _peak_mb() - before}


def _peak_mb() -> int:
    """Return the most memory that this process has had, MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) // 1000


def run_programs(count: int) -> int:
    """Run changed programs under the sanitizers; return the exit status."""
    from engines.test_native_sanitizers import NETWORKS, SANITIZED, build, write_programs

    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise SystemExit("There is no C++ compiler here.")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        driver = build(compiler, [*SANITIZED], Path(folder), Path(folder))
        changes = str(-(-count // NETWORKS))
        command = [str(driver), changes, str(10**9), *write_programs(Path(folder))]
        status = subprocess.run(command, check=False).returncode
    print(f"exit status {status}, {time.monotonic() - start:.0f} s")
    return status


if __name__ == "__main__":
    main()
