// Estimates the veil of dense snowfall over a whole photo and takes it off windows, as the command
// does (cmudrn/restoration/dehazing.py, which says why).

import { places } from "./change_gate.js";

const SIDE = 256;
const BLOCK = 8;
const BLOCKS = SIDE / BLOCK;
const MAX_THICKNESS = 1;
const MIN_GAIN_EXCESS = 1 / 256;
const BLACKER_THAN_BLACK = -0.02;
const MAX_BLACKER = 0.01;
const BISECTIONS = 7;
const DENSE_GAIN = 1.1;

// The layers in the order of their weights, a bias behind each: [name, outputs, inputs, kernel].
const layersOf = (c) => [
  ["enter", c, 9, 3], ["reduce", 2 * c, c, 3], ["look", 2 * c, 2 * c, 3], ["judge", 2 * c, 2 * c, 3],
  ["thickness", 1, 2 * c, 1], ["gather", 2 * c, 4 * c, 1], ["spread", 2 * c, 2 * c, 1],
  ["gate", 1, 2 * c, 1], ["airlight", 3, 2 * c, 1],
];

function unpack(floats, features) {
  const layers = {};
  let at = 0;
  for (const [name, outputs, inputs, kernel] of layersOf(features)) {
    const weight = floats.subarray(at, (at += outputs * inputs * kernel * kernel));
    const bias = floats.subarray(at, (at += outputs));
    layers[name] = { outputs, inputs, kernel, weight, bias };
  }
  if (at !== floats.length) throw new Error("the veil estimator is not whole");
  return layers;
}

// The veil over an image of RGBA: {gain, cells, airlight} of a grid of cells x cells, or null where
// there is none.
export function estimateVeil({ data, width, height }, { weights, features }) {
  const layers = unpack(weights, features);
  const thumbnail = thumbnailOf(data, width, height);
  const seen = judge(thumbnail, layers);
  const turned = judge(mirror(thumbnail, SIDE, 3), layers);
  const { cells } = seen;
  const back = mirror(turned.thickness, cells, 1);
  const gain = seen.thickness.map((value, i) => Math.exp((value + back[i]) / 2));
  const airlight = seen.airlight.map((value, c) => (value + turned.airlight[c]) / 2);
  const estimate = { gain, cells, airlight };
  if (isClear(estimate)) return null;
  const possible = bounded(estimate, thumbnail);
  return isClear(possible) ? null : possible;
}

const isClear = ({ gain }) => Math.max(...gain) < 1 + MIN_GAIN_EXCESS;

export const isDense = ({ gain }) =>
  gain.reduce((sum, value) => sum + value, 0) / gain.length >= DENSE_GAIN;

// The densest part of a veil that can lie over a picture with this thumbnail.
function bounded(veil, thumbnail) {
  const thinned = (part) => ({ ...veil, gain: veil.gain.map((value) => value ** part) });
  const isPossible = (part) => shareBlacker(thumbnail, thinned(part)) <= MAX_BLACKER;
  if (isPossible(1)) return veil;
  let [possible, tooDense] = [0, 1];
  for (let i = 0; i < BISECTIONS; i += 1) {
    const middle = (possible + tooDense) / 2;
    if (isPossible(middle)) possible = middle;
    else tooDense = middle;
  }
  return thinned(possible);
}

// The share of a thumbnail that comes out darker than black.
function shareBlacker(thumbnail, veil) {
  const plane = SIDE * SIDE;
  const planes = Float32Array.from({ length: 3 * plane }, (_, i) =>
    thumbnail[3 * (i % plane) + Math.floor(i / plane)]);
  liftVeil(planes, { width: SIDE, height: SIDE, first: [0, 0], size: [SIDE, SIDE] }, veil);
  let blacker = 0;
  for (let i = 0; i < plane; i += 1) {
    const least = Math.min(planes[i], planes[plane + i], planes[2 * plane + i]);
    if (least < BLACKER_THAN_BLACK) blacker += 1;
  }
  return blacker / plane;
}

// Rows of `width` places of `channels` values, turned round.
function mirror(values, width, channels) {
  const turned = new Float32Array(values.length);
  for (let i = 0; i < values.length; i += channels) {
    const x = (i / channels) % width;
    const from = i + (width - 1 - 2 * x) * channels;
    for (let c = 0; c < channels; c += 1) turned[i + c] = values[from + c];
  }
  return turned;
}

// What is judged of a thumbnail: -log t of cells x cells, and the airlight.
function judge(thumbnail, layers) {
  let maps = blocksOf(thumbnail);
  maps = relu(convolve(maps, layers.enter, 2));
  maps = relu(convolve(maps, layers.reduce, 2));
  const looked = relu(convolve(maps, layers.look, 1));
  maps.values.forEach((value, i) => (looked.values[i] += value));
  const whole = relu(convolve(pool(looked), layers.gather, 1));
  const judged = convolve(looked, layers.judge, 1);
  const { values: spread } = convolve(whole, layers.spread, 1);
  const plane = judged.side ** 2;
  for (let i = 0; i < judged.values.length; i += 1) judged.values[i] += spread[Math.floor(i / plane)];
  const gate = sigmoid(convolve(whole, layers.gate, 1).values[0]);
  const thickness = convolve(relu(judged), layers.thickness, 1).values.map((value) => {
    const softplus = Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
    return Math.min(gate * softplus, MAX_THICKNESS);
  });
  const airlight = convolve(whole, layers.airlight, 1).values.map(sigmoid);
  return { thickness, cells: judged.side, airlight };
}

const sigmoid = (value) => 1 / (1 + Math.exp(-value));

function relu(maps) {
  maps.values.forEach((value, i) => (maps.values[i] = Math.max(value, 0)));
  return maps;
}

// Means over SIDE x SIDE cells, interleaved RGB in [0, 1]; a cell has all pixels that it touches.
function thumbnailOf(data, width, height) {
  const rows = cellsOf(height);
  const columns = cellsOf(width);
  const means = new Float32Array(3 * SIDE * SIDE);
  const sums = new Float64Array(3 * width);
  for (const [r, [top, bottom]] of rows.entries()) {
    sums.fill(0);
    for (let y = top; y < bottom; y += 1) {
      for (let x = 0, from = 4 * y * width; x < width; x += 1, from += 4) {
        for (let c = 0; c < 3; c += 1) sums[3 * x + c] += data[from + c];
      }
    }
    for (const [k, [left, right]] of columns.entries()) {
      const area = 255 * (bottom - top) * (right - left);
      for (let c = 0; c < 3; c += 1) {
        let sum = 0;
        for (let x = left; x < right; x += 1) sum += sums[3 * x + c];
        means[3 * (r * SIDE + k) + c] = sum / area;
      }
    }
  }
  return means;
}

const cellsOf = (length) =>
  Array.from({ length: SIDE }, (_, i) => [
    Math.floor((i * length) / SIDE),
    Math.ceil(((i + 1) * length) / SIDE),
  ]);

// Mean, least and greatest value of each channel in each block, less a half: 9 maps.
function blocksOf(thumbnail) {
  const plane = BLOCKS * BLOCKS;
  const values = new Float32Array(9 * plane);
  for (let block = 0; block < plane; block += 1) {
    const corner = BLOCK * (Math.floor(block / BLOCKS) * SIDE + (block % BLOCKS));
    for (let c = 0; c < 3; c += 1) {
      let [sum, least, most] = [0, Infinity, -Infinity];
      for (let i = 0; i < BLOCK * BLOCK; i += 1) {
        const value = thumbnail[3 * (corner + Math.floor(i / BLOCK) * SIDE + (i % BLOCK)) + c];
        sum += value;
        least = Math.min(least, value);
        most = Math.max(most, value);
      }
      [sum / BLOCK ** 2, least, most].forEach((value, kind) => {
        values[(3 * kind + c) * plane + block] = value - 0.5;
      });
    }
  }
  return { values, side: BLOCKS };
}

// Mean and greatest value of each map.
function pool({ values, side }) {
  const plane = side * side;
  const count = values.length / plane;
  const pooled = new Float32Array(2 * count);
  for (let i = 0; i < count; i += 1) {
    const map = values.subarray(i * plane, (i + 1) * plane);
    pooled[i] = map.reduce((sum, value) => sum + value, 0) / plane;
    pooled[count + i] = Math.max(...map);
  }
  return { values: pooled, side: 1 };
}

function convolve({ values, side }, { outputs, inputs, kernel, weight, bias }, stride) {
  const made = side / stride;
  const margin = (kernel - 1) / 2;
  const sums = new Float32Array(outputs * made * made);
  for (let o = 0, to = 0; o < outputs; o += 1) {
    for (let y = 0; y < made; y += 1) {
      for (let x = 0; x < made; x += 1, to += 1) {
        let sum = bias[o];
        for (let i = 0; i < inputs; i += 1) {
          for (let a = 0; a < kernel; a += 1) {
            const row = y * stride + a - margin;
            if (row < 0 || row >= side) continue;
            for (let b = 0; b < kernel; b += 1) {
              const column = x * stride + b - margin;
              if (column < 0 || column >= side) continue;
              sum += weight[((o * inputs + i) * kernel + a) * kernel + b] *
                values[(i * side + row) * side + column];
            }
          }
        }
        sums[to] = sum;
      }
    }
  }
  return { values: sums, side: made };
}

// Takes the veil off planes (3, height, width) of a window in place. `first` is the window's first
// row and column in the image, `size` the image's height and width.
export function liftVeil(planes, { width, height, first, size }, { gain, cells, airlight }) {
  const [down, across] = [0, 1].map((axis) => places(size[axis], cells));
  const plane = width * height;
  for (let y = 0; y < height; y += 1) {
    const { before, after, part } = down[Math.min(first[0] + y, size[0] - 1)];
    const cell = (column) => {
      const value = gain[before * cells + column];
      return value + part * (gain[after * cells + column] - value);
    };
    for (let x = 0; x < width; x += 1) {
      const { before: left, after: right, part: share } = across[Math.min(first[1] + x, size[1] - 1)];
      const here = cell(left) + share * (cell(right) - cell(left));
      for (let c = 0; c < 3; c += 1) {
        const at = c * plane + y * width + x;
        planes[at] = airlight[c] + (planes[at] - airlight[c]) * here;
      }
    }
  }
}
