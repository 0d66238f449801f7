// One photo's work, away from the page: reading, restoring tile by tile, writing.
//
// In: {restore: {file, model, workers, tilePixels, layerPixels}} or {save: {file, restored,
// strength}}. Out: {progress}, and {done} or {failed: sentence}.
import { ChangeGate } from "./change_gate.js";
import {
  isAnimatedWebp, kindOf, readJpeg, readPng, withJpegMetadata, withPngMetadata, withProfile,
} from "./containers.js";
import { holdRangeEnds } from "./range_ends.js";
import { divide } from "./tiles.js";
import { estimateVeil, isDense } from "./veil.js";

const UNCOMMON = { tiff: "TIFF", heic: "HEIC", avif: "AVIF" };
const QUALITY = 1; // the browser halves the resolution of colours below it

// As cmudrn/restoration/changed.py, which says why.
const STRONG_STEPS = 20;
const MUCH = 0.2;
const MUCH_WEATHER = 0.02;

class Refusal extends Error {}

onmessage = async ({ data }) => {
  try {
    postMessage({ done: data.restore ? await restore(data.restore) : await save(data.save) });
  } catch (error) {
    postMessage({ failed: sentence(error) });
  }
};

function sentence(error) {
  if (error instanceof Refusal) return error.message;
  if (error instanceof RangeError || error.name === "RuntimeError") {
    return "There is not enough memory in this browser for this photo.";
  }
  return `The restoration failed (${error.message ?? error}).`;
}

// --- reading -------------------------------------------------------------------------------------

// What a file is: {kind, bytes, orientation, profile, notes}.
async function examine(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const photo = { kind: kindOf(bytes), bytes, orientation: 1, profile: null, notes: [] };
  if (photo.kind === "jpeg") examineJpeg(photo);
  else if (photo.kind === "png") examinePng(photo);
  else if (photo.kind === "webp" && isAnimatedWebp(bytes)) {
    throw new Refusal("It is a WebP animation, not a photo.");
  } else if (["webp", "avif", "bmp", "heic", "tiff"].includes(photo.kind)) {
    photo.notes.push("It is saved as a PNG without its metadata.");
  } else throw new Refusal("It is not a JPEG, PNG, WebP, AVIF or BMP.");
  return photo;
}

function examineJpeg(photo) {
  const { channels, orientation, profile, hasSecond } = readJpeg(photo.bytes);
  if (channels === 4) {
    throw new Refusal("It is a CMYK JPEG; this page restores RGB and grey photos.");
  }
  Object.assign(photo, { orientation, profile: channels === 3 ? profile : null });
  if (hasSecond) photo.notes.push("The second picture in the file is left out.");
}

function examinePng(photo) {
  const { depth, isAnimated, isTurned } = readPng(photo.bytes);
  if (isAnimated) throw new Refusal("It is a PNG animation, not a photo.");
  if (depth === 16) {
    photo.notes.push("Its 16 bits a channel become 8; the command cmudrn restore keeps them.");
  }
  if (isTurned) photo.notes.push("Its EXIF data are left out.");
}

// A photo's upright RGBA.
async function decode(file, { kind }) {
  const carried = kind === "jpeg" || kind === "png"; // its profile goes with it
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, {
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
      colorSpaceConversion: carried ? "none" : "default",
    });
  } catch {
    const name = UNCOMMON[kind];
    throw new Refusal(name ? `This browser cannot read ${name}.` : "It is damaged or too large.");
  }
  const { width, height } = bitmap;
  const context = canvasOf(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new RangeError("no canvas of this size");
  return context;
}

// --- restoring -----------------------------------------------------------------------------------

async function restore({ file, model, workers, tilePixels, layerPixels }) {
  const photo = await examine(file);
  const image = await decode(file, photo);
  const { width, height, data } = image;
  const layered = width * height <= layerPixels;
  const names = layered ? ["removed", ...model.tasks] : [];
  const restored = new Uint8ClampedArray(data.length);
  const maps = names.map(() => new Uint8ClampedArray(data.length));
  const tiles = divide(height, width, model, tilePixels, workers);
  const run = async (veil) => {
    const gate = new ChangeGate(height, width, model.change_gating_db ?? Infinity);
    await runTiles(tiles, image, { ...model, veil }, workers, (tile, piece) => {
      paste(piece.restored, restored, tile, width);
      maps.forEach((map, i) => paste(piece.maps[i], map, tile, width));
      gate.add(piece.energy);
    });
    if (model.change_gating_db) gate.apply(data, restored);
    holdRangeEnds(data, restored, width, height);
    return shareChanged(data, restored);
  };
  // When haze is taken off by itself: as _find_veil of cmudrn/restoration/restorer.py, which says why.
  const mayDehaze = model.veil && model.dehaze !== false;
  const veil = mayDehaze ? estimateVeil(image, model.veil) : null;
  let dehazed = Boolean(veil && model.dehaze);
  let changed = await run(dehazed ? veil : null);
  if (veil && !dehazed && isDense(veil) && changed >= MUCH_WEATHER) {
    dehazed = true;
    changed = await run(veil);
  }
  if (changed > MUCH) {
    const percent = Math.round(100 * changed);
    photo.notes.unshift(
      `${percent}% of the picture was changed strongly; compare the result with the original.`,
    );
  }
  if (dehazed) photo.notes.unshift("The haze of the weather was taken off, too.");
  const views = { restored: await encode(restored, width, height, "image/png") };
  if (photo.profile) {
    const bytes = new Uint8Array(await views.restored.arrayBuffer());
    views.restored = new Blob([await withProfile(bytes, photo.profile)], { type: "image/png" });
  }
  for (const [i, name] of names.entries()) {
    views[name] = await encode(maps[i], width, height, "image/jpeg", 0.9);
  }
  return { views, report: { notes: photo.notes, changed } };
}

// The share of the pixels of which a channel was changed strongly.
function shareChanged(before, after) {
  let changed = 0;
  for (let i = 0; i < before.length; i += 4) {
    const most = Math.max(
      Math.abs(before[i] - after[i]),
      Math.abs(before[i + 1] - after[i + 1]),
      Math.abs(before[i + 2] - after[i + 2]),
    );
    if (most > STRONG_STEPS) changed += 1;
  }
  return (4 * changed) / before.length;
}

// Gives each worker its next tile as soon as it has done one.
async function runTiles(tiles, image, model, workers, onPiece) {
  const parts = new Float64Array(tiles.length);
  const tell = (index, part) => {
    parts[index] = part;
    postMessage({ progress: parts.reduce((sum, one) => sum + one, 0) / tiles.length });
  };
  const queue = [...tiles.entries()];
  const run = async () => {
    const worker = await openWorker(model);
    try {
      for (let next = queue.shift(); next; next = queue.shift()) {
        const [index, tile] = next;
        const piece = await ask(worker, { tile: cut(image, tile) }, (part) => tell(index, part));
        onPiece(tile, piece);
        tell(index, 1);
      }
    } finally {
      worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(workers, tiles.length) }, run));
}

async function openWorker({ module, code, numbers, images, veil }) {
  const worker = new Worker(new URL("tile_worker.js", import.meta.url), { type: "module" });
  await ask(worker, { open: { module, code, numbers, images, veil } });
  return worker;
}

function ask(worker, message, onProgress) {
  return new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message || "a worker did not start"));
    worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) onProgress(data.progress);
      else if (data.failed) reject(Object.assign(new Error(data.failed), { name: data.name }));
      else resolve(data.done);
    };
    worker.postMessage(message, message.tile ? [message.tile.pixels.buffer] : []);
  });
}

// A window of an image, its last rows and columns repeated where it goes beyond.
function cut({ data, width, height }, { rows, columns }) {
  const [tall, wide] = [rows.last - rows.first, columns.last - columns.first];
  const pixels = new Uint8ClampedArray(4 * tall * wide);
  const inside = Math.min(width, columns.last);
  for (let y = 0; y < tall; y += 1) {
    const row = 4 * width * Math.min(rows.first + y, height - 1);
    const to = 4 * wide * y;
    pixels.set(data.subarray(row + 4 * columns.first, row + 4 * inside), to);
    for (let x = inside - columns.first; x < wide; x += 1) {
      pixels.copyWithin(to + 4 * x, to + 4 * (x - 1), to + 4 * x);
    }
  }
  const inner = {
    y: rows.start, x: columns.start,
    top: rows.start - rows.first, left: columns.start - columns.first,
    height: rows.stop - rows.start, width: columns.stop - columns.start,
  };
  const [first, size] = [[rows.first, columns.first], [height, width]];
  return { pixels, width: wide, height: tall, first, size, inner };
}

function paste(piece, image, { rows, columns }, width) {
  const wide = 4 * (columns.stop - columns.start);
  for (let y = rows.start; y < rows.stop; y += 1) {
    const from = wide * (y - rows.start);
    image.set(piece.subarray(from, from + wide), 4 * (y * width + columns.start));
  }
}

// --- writing -------------------------------------------------------------------------------------

function encode(pixels, width, height, type, quality) {
  const context = canvasOf(width, height);
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
  return context.canvas.convertToBlob({ type, quality });
}

// The file to save: the photo at a strength, a JPEG as a JPEG, all others as PNG.
async function save({ file, restored, strength }) {
  const photo = await examine(file);
  const { data: mixed, width, height } = await decode(restored, { kind: "png" });
  if (strength < 1) {
    const { data } = await decode(file, photo);
    for (let i = 0; i < mixed.length; i += 1) mixed[i] = data[i] + strength * (mixed[i] - data[i]);
  }
  if (photo.kind !== "jpeg") {
    const png = await encode(mixed, width, height, "image/png");
    if (photo.kind !== "png") return png;
    const bytes = withPngMetadata(new Uint8Array(await png.arrayBuffer()), photo.bytes);
    return new Blob([bytes], { type: "image/png" });
  }
  const stored = turnBack(mixed, width, height, photo.orientation);
  const jpeg = await encode(stored.pixels, stored.width, stored.height, "image/jpeg", QUALITY);
  const bytes = withJpegMetadata(new Uint8Array(await jpeg.arrayBuffer()), photo.bytes);
  return new Blob([bytes], { type: "image/jpeg" });
}

// Upright pixels in the orientation that the file's EXIF data tell, which stay as they are.
function turnBack(pixels, width, height, orientation) {
  if (orientation === 1) return { pixels, width, height };
  const turned = orientation >= 5;
  const [wide, tall] = turned ? [height, width] : [width, height];
  const [from, to] = [new Uint32Array(pixels.buffer), new Uint32Array(wide * tall)];
  const mirrored = [2, 3, 6, 7].includes(orientation);
  const overturned = [3, 4, 7, 8].includes(orientation);
  for (let y = 0; y < tall; y += 1) {
    for (let x = 0; x < wide; x += 1) {
      const [row, column] = turned ? [x, y] : [y, x]; // of the upright image
      to[y * wide + x] =
        from[(overturned ? height - 1 - row : row) * width + (mirrored ? width - 1 - column : column)];
    }
  }
  return { pixels: new Uint8ClampedArray(to.buffer), width: wide, height: tall };
}
