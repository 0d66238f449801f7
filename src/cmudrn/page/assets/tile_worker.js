// Runs the network on one window after another, in a WebAssembly memory of its own.
//
// In: {open: {module, code, numbers, images, veil}}, once; then {tile: {pixels, width, height, first,
// size, inner}} with the window's RGBA, where it begins in the image, and the image's size. Out: {progress} from 0 to 1, and {done: {restored, maps, energy}}: RGBA of the
// window's inner part after the network, what each branch took out of it, and the energy of the
// change over the blocks of the whole image.
import { addEnergy } from "./change_gate.js";
import { liftVeil } from "./veil.js";

let engine = null;
let program = 0;
let outputs = 0;
let veil = null;

onmessage = async ({ data }) => {
  try {
    if (data.open) await open(data.open);
    else restore(data.tile);
  } catch (error) {
    postMessage({ failed: String(error.message ?? error), name: error.name });
  }
};

async function open({ module, code, numbers, images, veil: over }) {
  let shown = 0;
  const progress = (done, all) => {
    const now = performance.now();
    if (now - shown < 100) return;
    shown = now;
    postMessage({ progress: done / all });
  };
  const nothing = () => {};
  const instance = await WebAssembly.instantiate(module, {
    page: { progress },
    env: { emscripten_notify_memory_growth: nothing },
    wasi_snapshot_preview1: { proc_exit: nothing },
  });
  engine = instance.exports;
  engine._initialize();
  [outputs, veil] = [images, over];
  program = engine.open(copyIn(code), code.byteLength / 8, copyIn(numbers), numbers.byteLength / 4);
  postMessage({ opened: true });
}

function copyIn(bytes) {
  const at = engine.allocate(bytes.byteLength);
  new Uint8Array(engine.memory.buffer).set(new Uint8Array(bytes), at >>> 0);
  return at;
}

const floats = (at, count) => new Float32Array(engine.memory.buffer, at >>> 0, count);

function restore(tile) {
  const { pixels, width, height } = tile;
  const plane = width * height;
  const degraded = engine.allocate(4 * 3 * plane);
  const made = Array.from({ length: outputs }, () => engine.allocate(4 * 3 * plane));
  const list = engine.allocate(4 * outputs);
  const planes = floats(degraded, 3 * plane);
  for (let i = 0; i < plane; i += 1) {
    for (let c = 0; c < 3; c += 1) planes[c * plane + i] = pixels[4 * i + c] / 255;
  }
  const before = veil ? planes.slice() : null;
  if (veil) liftVeil(planes, tile, veil);
  new Uint32Array(engine.memory.buffer, list >>> 0, outputs).set(made);
  engine.restore(program, height, width, degraded, list);
  finish(tile, before ?? floats(degraded, 3 * plane), made);
  for (const at of [degraded, ...made, list]) engine.release(at);
}

function finish({ pixels, width, height, inner }, degraded, made) {
  const plane = width * height;
  const images = made.map((at) => floats(at, 3 * plane));
  const size = 4 * inner.width * inner.height;
  const restored = new Uint8ClampedArray(size);
  const maps = images.map(() => new Uint8ClampedArray(size).fill(255));
  for (let y = 0, to = 0; y < inner.height; y += 1) {
    let from = (y + inner.top) * width + inner.left;
    for (let x = 0; x < inner.width; x += 1, from += 1, to += 4) {
      for (let c = 0; c < 3; c += 1) {
        const at = c * plane + from;
        restored[to + c] = 255 * images[0][at]; // rounds to the nearest, and stops at 0 and 255
        for (let i = 0; i < maps.length; i += 1) {
          maps[i][to + c] = 255 * Math.abs(degraded[at] - images[i][at]);
        }
      }
      restored[to + 3] = pixels[4 * from + 3];
    }
  }
  const energy = addEnergy(degraded, images[0], { width, height, inner });
  if (!energy.sums.every(Number.isFinite)) {
    throw new Error("The model returned values that are no numbers.");
  }
  const kept = [restored.buffer, ...maps.map((map) => map.buffer)];
  postMessage({ done: { restored, maps, energy } }, kept);
}
