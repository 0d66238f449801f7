"""The native engine's C++ in a program of its own: under the sanitizers, and for another processor.

The program runs the paper's pipeline over awkward sizes, random networks on every instruction set
(`CMUDRN_ANY_CPU` lets any processor run them), and programs that were changed at random.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.wide_networks import random_network, run_onnxruntime

from cmudrn.engines.native.lowering import lower
from cmudrn.files import atomic_file

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "src" / "cmudrn" / "engines" / "native" / "cpp"
NETWORKS = 12
CHANGES = int(os.environ.get("CMUDRN_TEST_PROGRAMS", "40"))
"""Changed programs that are tried for each network; more by this environment variable."""
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-DCMUDRN_ANY_CPU")
"""Flags for AddressSanitizer and UndefinedBehaviorSanitizer on every instruction set."""
AARCH64 = "aarch64-linux-gnu-g++"


def write_programs(folder: Path) -> list[str]:
    """Write random networks as programs, with what ONNX Runtime makes of an image."""
    paths = []
    for seed in range(NETWORKS):
        network = random_network(seed)
        program, side = lower(network), max(8, network.alignment)
        head = [program.code.size, program.numbers.size, len(program.outputs), 3 * side, 2 * side]
        batch = np.random.default_rng(seed).random((1, 3, 3 * side, 2 * side), np.float32)
        expected = run_onnxruntime(network, batch).values()
        path = folder / f"{seed}.program"
        arrays: list[NDArray[Any]] = [np.array(head, np.int64), program.code, program.numbers]
        arrays += [batch, *expected]
        path.write_bytes(b"".join(array.tobytes() for array in arrays))
        paths.append(str(path))
    return paths


@pytest.fixture
def builds(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where compiled programs stay from one run of the tests to the next."""
    cache = getattr(request.config, "cache", None)
    return tmp_path if cache is None else Path(cache.mkdir("native-programs"))


def build(compiler: str, flags: list[str], folder: Path, builds: Path) -> Path:
    """Return the compiled program; skip where the compiler cannot make it.

    A program is compiled again only when its sources, its flags or the compiler have changed.
    """
    flags = ["-std=c++20", "-pthread", "-Wno-psabi", "-g1", *flags]
    probe = [compiler, *flags, "-x", "c++", "-", "-o", str(folder / "probe")]
    if subprocess.run(probe, input=b"#include <barrier>\nint main() {}", check=False).returncode:
        pytest.skip(f"{compiler} has no C++20 library, or does not know {' '.join(flags)}")
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    made_of = hashlib.sha256(version)
    for path in (*sorted(SOURCES.iterdir()), HERE / "native_driver.cpp"):
        made_of.update(path.read_bytes())
    kind = hashlib.sha256(" ".join([compiler, *flags]).encode()).hexdigest()[:16]
    driver = builds / f"{kind}-{made_of.hexdigest()[:16]}"
    if not driver.exists():
        for outdated in builds.glob(f"{kind}-*"):
            outdated.unlink()
        sources = [str(path) for path in sorted(SOURCES.glob("*.cpp"))]
        made = folder / "driver"
        command = [compiler, *flags, *sources, str(HERE / "native_driver.cpp"), "-o", str(made)]
        subprocess.run(command, check=True)
        with atomic_file(driver) as file:
            file.write(made.read_bytes())
        driver.chmod(0o700)
    return driver


def run(command: list[str], folder: Path, changes: int, most_pixels: int = 10**9) -> None:
    """Run the program and expect it to find nothing."""
    command = [*command, str(changes), str(most_pixels), *write_programs(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0 and ran.stdout.strip() == "agreed", ran.stdout + ran.stderr


def instruction_sets_of(command: list[str]) -> list[str]:
    """Return what the program runs, of the instruction sets that there are."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.parametrize(
    "flags", [SANITIZED, ("-fsanitize=thread", *SANITIZED[1:])], ids=["address", "thread"]
)
def test_no_sanitizer_has_a_complaint(flags: tuple[str, ...], tmp_path: Path, builds: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler here")
    driver = build(compiler, [*flags], tmp_path, builds)
    run([str(driver)], tmp_path, CHANGES if flags is SANITIZED else CHANGES // 8)


def test_aarch64_equals_onnxruntime(tmp_path: Path, builds: Path) -> None:
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None or shutil.which(AARCH64) is None:
        pytest.skip(f"{AARCH64} and qemu-aarch64 (g++-aarch64-linux-gnu, qemu-user) are not here")
    driver = build(AARCH64, ["-O2", "-static"], tmp_path, builds)
    assert {"neon", "neonbf16"} <= set(instruction_sets_of([emulator, str(driver)]))
    run([emulator, str(driver)], tmp_path, 2, most_pixels=1500)
