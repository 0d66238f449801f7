"""Measure what a worker of the server takes for each kind of image, in a process each.

    python benchmarks/server_memory.py
    python benchmarks/server_memory.py --pixels 25000000 --only png

Prints the memory of a worker that has opened its model, and the most that it has with an image of
half of the pixels and with one of all. What a pixel takes is the difference; the last column
follows from it, for the largest size that the server takes. Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cmudrn.image import Picture, encode_picture
from cmudrn.server.limits import Limits

LIMITS = Limits()
KINDS: dict[str, tuple[str, str, Any, int]] = {
    "jpeg": ("jpeg", "restored", np.uint8, LIMITS.pixels),
    "png": ("png", "restored", np.uint8, LIMITS.pixels),
    "png, black": ("png", "restored", np.uint8, LIMITS.pixels),
    "png, 16 bits": ("png", "restored", np.uint16, LIMITS.pixels * 4 // 6),
    "tiff": ("tiff", "restored", np.uint8, LIMITS.pixels),
    "tiff, floats": ("tiff", "restored", np.float32, LIMITS.pixels // 3),
    "bmp": ("bmp", "restored", np.uint8, LIMITS.pixels),
    "webp": ("webp", "restored", np.uint8, LIMITS.webp_pixels),
    "avif": ("avif", "restored", np.uint8, LIMITS.webp_pixels),
    "jpeg, with layers": ("jpeg", "all", np.uint8, LIMITS.layer_pixels),
    "png, with layers": ("png", "all", np.uint8, LIMITS.layer_pixels),
}
"""Name -> format, view, type of the pixels, most pixels that the server takes."""


def make_image(kind: str, pixels: int) -> bytes:
    """Return an image file of that many pixels: smooth, with noise; or black."""
    name, _, dtype, _ = KINDS[kind]
    height = int((pixels * 3 / 4) ** 0.5)
    width = pixels // height
    if "black" in kind:
        return encode_picture(Picture(np.zeros((height, width, 3), np.uint8)), name)
    rng = np.random.default_rng(0)
    rows = np.linspace(40, 200, height, dtype=np.float32)[:, None, None]
    image = np.empty((height, width, 3), dtype)
    white = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    for start in range(0, height, 256):
        band = image[start : start + 256]
        noisy = rows[start : start + 256] + rng.normal(0, 6, band.shape).astype(np.float32)
        band[...] = np.clip(noisy / 255, 0, 1) * white
    return encode_picture(Picture(image), name)


def memory_mb(what: str) -> int:
    """Return a line of this process's status, MB."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) // 1000


def measure(kind: str, path: Path) -> dict[str, int]:
    """Return the memory before and at the most, MB, of this process with an image file."""
    from cmudrn.server.memory import give_back_memory
    from cmudrn.server.processing import Models, RestoreRequest, process_request

    models = Models({"cmudrn": "cmudrn"}, 1)
    restorer = models.restorer("cmudrn")
    give_back_memory()
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    request = RestoreRequest("cmudrn", view=KINDS[kind][1])
    process_request(path.read_bytes, request, restorer, LIMITS, lambda *_: None)
    return {"before": before, "most": memory_mb("VmHWM")}


def main() -> None:
    """Measure all kinds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pixels", type=int, default=4_400_000)
    parser.add_argument("--only", default="", help="kinds whose name has this in it")
    parser.add_argument("--folder", type=Path, default=Path("."), help="for one file at a time")
    parser.add_argument("--kind", choices=KINDS, help="measure this one in this process")
    asked = parser.parse_args()
    path = asked.folder / "server_memory.image"
    if asked.kind:
        print(json.dumps(measure(asked.kind, path)))
        return
    print("| image | worker | most | bytes a pixel | at the largest size |")
    print("|---|---|---|---|---|")
    for kind, (*_, largest) in KINDS.items():
        if asked.only not in kind:
            continue
        pixels = min(asked.pixels, largest)
        found = [run(kind, pixels // 2, path), run(kind, pixels, path)]
        each = (found[1]["most"] - found[0]["most"]) * 1e6 / (pixels - pixels // 2)
        whole = found[1]["most"] + each * (largest - pixels) / 1e6
        print(
            f"| {kind} | {found[1]['before']} MB | {found[1]['most']} MB at {pixels / 1e6:.1f} "
            f"million pixels | {each:.0f} | {whole:.0f} MB at {largest / 1e6:.1f} million pixels |",
            flush=True,
        )


def run(kind: str, pixels: int, path: Path) -> dict[str, int]:
    """Return what `measure` finds in a process of its own."""
    path.write_bytes(make_image(kind, pixels))
    command = [sys.executable, __file__, "--kind", kind, "--folder", str(path.parent)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    path.unlink()
    found: dict[str, int] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
