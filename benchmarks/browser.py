"""Time the network in Chromium: the native engine's WebAssembly, and onnxruntime-web beside it.

    python benchmarks/browser.py --model cmudrn --ort node_modules/onnxruntime-web/dist
    python benchmarks/browser.py --photo samples/rain.jpg --size 1920x1080

The first runs one window on one thread, in turn, each engine in a worker of its own; without
`--ort` only ours. The second restores a whole photograph on the page, and tells the processor
seconds of all of the browser's processes, too (Linux).
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from cmudrn.image import Picture, encode_picture, read_picture
from cmudrn.models.plain_export import export_plain
from cmudrn.page import build_page

OURS = """
const ask = (worker, message) => new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => data.failed ? reject(new Error(data.failed))
    : data.progress === undefined && resolve(data);
  worker.postMessage(message);
});
const { models: [model] } = await (await fetch("models.json")).json();
const module = await WebAssembly.compile(await (await fetch("engine.wasm")).arrayBuffer());
const program = await (await fetch(model.file)).arrayBuffer();
const worker = new Worker("tile_worker.js", { type: "module" });
await ask(worker, { open: { module, code: program.slice(0, model.code_bytes),
  numbers: program.slice(model.code_bytes), images: 1 + model.tasks.length } });
window.ours = async (side) => {
  const pixels = new Uint8ClampedArray(4 * side * side).map((_, i) => (i * 7919) % 256);
  const start = performance.now();
  await ask(worker, { tile: { pixels, width: side, height: side,
    inner: { y: 0, x: 0, top: 0, left: 0, height: side, width: side } } });
  return (performance.now() - start) / 1000;
};
"""

ORT = """
import * as ort from "./ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create("plain.onnx");
onmessage = async ({ data: side }) => {
  const numbers = new Float32Array(3 * side * side).map((_, i) => ((i * 7919) % 256) / 255);
  const start = performance.now();
  await session.run({ degraded: new ort.Tensor("float32", numbers, [1, 3, side, side]) });
  postMessage((performance.now() - start) / 1000);
};
postMessage("ready");
"""

START_ORT = """
const other = new Worker("ort_worker.js", { type: "module" });
const answer = () => new Promise((resolve, reject) => {
  other.onmessage = ({ data }) => resolve(data);
  other.onerror = (event) => reject(new Error(event.message));
});
await answer();
window.theirs = (side) => { const told = answer(); other.postMessage(side); return told; };
"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def prepare(folder: Path, model: str, ort: Path | None) -> None:
    """Write everything that the browser loads into a folder."""
    build_page(folder, [model])
    html = "<!doctype html><script type=module src=bench.js></script>"
    (folder / "bench.html").write_text(html)
    script = OURS
    if ort:
        export_plain(model, folder / "plain.onnx")
        for name in (
            "ort.wasm.min.mjs",
            "ort-wasm-simd-threaded.mjs",
            "ort-wasm-simd-threaded.wasm",
        ):
            shutil.copy(ort / name, folder)
        (folder / "ort_worker.js").write_text(ORT)
        script += START_ORT
    (folder / "bench.js").write_text(script + "document.title = 'ready';")


def processor_seconds() -> float:
    """Return the processor time of all processes below this one."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(process))
        ticks[int(process)] = int(fields[11]) + int(fields[12])
    total, waiting = 0, children.get(os.getpid(), [])
    while waiting:
        process_id = waiting.pop()
        total += ticks[process_id]
        waiting += children.get(process_id, [])
    return total / os.sysconf("SC_CLK_TCK")


def time_photo(page: Page, photo: Path, size: str) -> None:
    """Restore a photograph, repeated to a size, and print how long it took."""
    width, height = map(int, size.split("x"))
    pixels = read_picture(photo.read_bytes()).pixels
    repeats = (-(-height // pixels.shape[0]), -(-width // pixels.shape[1]), 1)
    large = np.ascontiguousarray(np.tile(pixels, repeats)[:height, :width])
    data = encode_picture(Picture(large, format="jpeg"), "jpeg")
    page.locator("#offline", has_text="Works without").wait_for()
    before, start = processor_seconds(), time.perf_counter()
    page.set_input_files("#files", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data})
    page.locator(".strip button[aria-label$=restored]").wait_for()
    seconds = time.perf_counter() - start
    print(f"{size}: {seconds:.1f} s, {processor_seconds() - before:.1f} s of processor time")


def time_windows(page: Page, engines: tuple[str, ...], side: int, rounds: int) -> None:
    """Print the seconds of the engines on one window, in turn."""
    page.wait_for_function("document.title === 'ready'")
    for engine in engines:
        page.evaluate(f"{engine}({side})")  # warms up
    for _ in range(rounds):
        for engine in engines:
            seconds = page.evaluate(f"{engine}({side})")
            print(f"{engine:<7} {side}x{side} {seconds:.2f} s", flush=True)


def main() -> None:
    """Print the seconds of both engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cmudrn")
    parser.add_argument("--ort", type=Path, help="the folder dist of onnxruntime-web")
    parser.add_argument("--photo", type=Path, help="restore this photograph on the page")
    parser.add_argument("--size", default="1920x1080", help="to which it is repeated")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        prepare(Path(name), asked.model, asked.ort)
        handler = functools.partial(_Handler, directory=name)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.on("pageerror", lambda error: print(error))
        address = f"http://127.0.0.1:{server.server_port}"
        if asked.photo:
            page.goto(address)
            time_photo(page, asked.photo, asked.size)
        else:
            page.goto(f"{address}/bench.html")
            engines = ("ours", "theirs") if asked.ort else ("ours",)
            time_windows(page, engines, asked.side, asked.rounds)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main()
