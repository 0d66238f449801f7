// Restores photos with the server that sent this page. The server's bytes are what is saved.

export const PROMISE = "They stay on the computer that runs this page.";
export const FORMATS = "JPEG, PNG, WebP, AVIF, TIFF, BMP – 8 or 16 bit, metadata kept";
export const ACCEPT = "image/jpeg,image/png,image/webp,image/avif,image/tiff,image/bmp,.tif,.tiff,.bmp";
export const API = "openapi.json";

const WAITS = 20; // tries while the server is busy

let server = null; // the answer of /models

// The models and limits.
export async function about() {
  const answer = await fetch("models");
  if (!answer.ok) throw new Error(await sentenceOf(answer));
  server = await answer.json();
  return server;
}

async function ask(file, parameters, { signal, onStatus }) {
  for (let tries = 1; ; tries += 1) {
    const query = new URLSearchParams(parameters);
    const answer = await fetch(`restore?${query}`, { method: "POST", body: file, signal });
    if (answer.ok) return answer;
    if (answer.status !== 503 || tries === WAITS) throw new Error(await sentenceOf(answer));
    onStatus("The server is busy; the photo waits its turn.");
    await pause(Number(answer.headers.get("Retry-After")) || 1, signal);
  }
}

async function sentenceOf(answer) {
  const told = await answer.json().catch(() => null);
  return told?.detail ?? `The server answered ${answer.status}.`;
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
  });

// {views: name -> Blob, report, saved}; `saved` is the file to save, in the photo's own format.
export async function restore(file, { pixels, isShown, ...parameters }, options) {
  const layered = pixels <= server.limits.layer_pixels;
  const query = { ...parameters, view: layered ? "all" : "restored" };
  if (!isShown) query.format = "png";
  const answer = await ask(file, query, options);
  const parts = layered ? await answer.formData() : new Map([["restored", await answer.blob()]]);
  const report = parts.has("report") ? JSON.parse(await parts.get("report").text()) : {};
  const views = Object.fromEntries([...parts].filter(([name]) => name !== "report"));
  return { views, report, saved: isShown ? views.restored : undefined };
}

// The restored file at a strength from 0 to 1.
export const save = async ({ file }, parameters, options) =>
  (await ask(file, parameters, options)).blob();

// A photo that the browser cannot show, as one that it can.
export const preview = async (file, options) =>
  (await ask(file, { strength: 0, format: "png" }, options)).blob();

export const explain = (error) =>
  error instanceof TypeError ? "The server cannot be reached; is it still running?" : error.message;

export const takeShared = async () => [];
