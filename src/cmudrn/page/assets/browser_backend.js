// Restores photos in this browser: workers run the network, and nothing is sent anywhere.

export const PROMISE = "They stay on this device: the page computes here and sends nothing.";
export const FORMATS = "JPEG with its metadata – PNG, WebP, AVIF and BMP are saved as PNG";
export const ACCEPT = "image/jpeg,image/png,image/webp,image/avif,image/bmp,.bmp";
export const API = null;

const MEMORY = navigator.deviceMemory ?? 4; // GB; browsers that do not say run on phones, too
const WORKERS = Math.max(1, Math.min(navigator.hardwareConcurrency ?? 2, MEMORY < 4 ? 2 : 4));
const TILE_PIXELS = MEMORY < 4 ? 1_200_000 : 2_800_000; // a tile takes 125 bytes a pixel
const LIMITS = { bytes: 256 * 2 ** 20, layer_pixels: MEMORY < 4 ? 4e6 : 16e6 };

let module = null;
let models = null;

const promised = (address) =>
  fetch(address).then((answer) => {
    if (!answer.ok) throw new TypeError(`${address} is missing`);
    return answer;
  });

// The models and limits, as the server's /models tells them.
export async function about() {
  const answer = await promised("models.json");
  models = await answer.json();
  keepOffline();
  return { ...models, limits: LIMITS };
}

function keepOffline() {
  const worker = navigator.serviceWorker; // only where the address is secure
  worker?.register("service_worker.js").catch(() => {});
  worker?.ready.then(() => document.dispatchEvent(new CustomEvent("offline-ready")));
}

// A model with all that a worker needs to run it; fetched at its first use.
async function load(name) {
  const model = models.models.find((one) => one.name === name);
  module ??= promised("engine.wasm").then(async (answer) =>
    WebAssembly.compile(await answer.arrayBuffer()),
  );
  model.program ??= promised(model.file).then((answer) => answer.arrayBuffer());
  try {
    const [compiled, program] = await Promise.all([module, model.program]);
    const code = program.slice(0, model.code_bytes);
    const rest = program.byteLength - model.veil_bytes;
    const numbers = program.slice(model.code_bytes, rest);
    const weights = new Float32Array(program.slice(rest));
    const veil = model.veil_bytes ? { weights, features: model.veil_features } : null;
    const { tasks, radius, alignment, change_gating_db } = model;
    const kept = { tasks, radius, alignment, change_gating_db, veil };
    return { module: compiled, code, numbers, images: 1 + tasks.length, ...kept };
  } catch (error) {
    module = model.program = null; // tried again next time
    throw error;
  }
}

// {views: name -> Blob, report}; the saved file is made when it is asked for.
export async function restore(file, { model, dehaze }, { signal, onProgress }) {
  const loaded = { ...(await load(model)), dehaze };
  const { layer_pixels: layerPixels } = LIMITS;
  return work(
    { restore: { file, model: loaded, workers: WORKERS, tilePixels: TILE_PIXELS, layerPixels } },
    signal,
    onProgress,
  );
}

// The restored file at a strength from 0 to 1.
export const save = ({ file, restored }, { strength }, { signal }) =>
  work({ save: { file, restored, strength } }, signal);

// What the browser cannot show it cannot restore either.
export const preview = async () => null;

export const explain = (error) =>
  error instanceof TypeError
    ? "A part of the page is missing; open it again with a network."
    : error.message;

function work(message, signal, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const worker = new Worker("photo_worker.js", { type: "module" });
    const end = (settle, value) => {
      worker.terminate();
      settle(value);
    };
    signal.throwIfAborted();
    signal.addEventListener("abort", () => end(reject, signal.reason));
    worker.onerror = (event) => end(reject, new Error(event.message || "A worker did not start."));
    worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) onProgress(data.progress);
      else if (data.failed) end(reject, new Error(data.failed));
      else end(resolve, data.done);
    };
    worker.postMessage(message);
  });
}

// Photos that another program has shared with this one, or opened with it.
export async function takeShared() {
  window.launchQueue?.setConsumer(async ({ files }) => {
    const opened = await Promise.all(files.map((handle) => handle.getFile()));
    document.dispatchEvent(new CustomEvent("photos", { detail: opened }));
  });
  if (!new URLSearchParams(location.search).has("shared")) return [];
  history.replaceState(null, "", "./");
  const cache = await caches.open(`cmudrn ${new URL("./", location).href} shared`);
  const files = [];
  for (const request of await cache.keys()) {
    const answer = await cache.match(request);
    const name = decodeURIComponent(answer.headers.get("File-Name"));
    const blob = await answer.blob();
    files.push(new File([blob], name, { type: blob.type }));
    await cache.delete(request);
  }
  return files;
}
