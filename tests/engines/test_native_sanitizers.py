"""The native engine's C++ with the compiler's sanitizers, in its own program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parent.parent / "src" / "cmudrn" / "engines" / "native" / "cpp"


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_no_sanitizer_has_a_complaint(sanitizer: str, tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler here")
    flags = [f"-fsanitize={sanitizer}", "-std=c++20", "-pthread", "-Wno-psabi", "-O1", "-g1"]
    probe = [compiler, *flags, "-x", "c++", "-", "-o", str(tmp_path / "probe")]
    if subprocess.run(probe, input=b"#include <barrier>\nint main() {}", check=False).returncode:
        pytest.skip(f"{compiler} has no C++20 library or no {sanitizer} sanitizer")
    driver = tmp_path / "driver"
    sources = [*sorted(SOURCES.glob("*.cpp")), HERE / "native_driver.cpp"]
    subprocess.run(
        [
            compiler,
            *flags,
            "-fno-sanitize-recover=all",
            "-DCMUDRN_ANY_CPU",
            *map(str, sources),
            "-o",
            str(driver),
        ],
        check=True,
    )
    ran = subprocess.run([driver], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0 and ran.stdout.strip() == "agreed", ran.stdout + ran.stderr
