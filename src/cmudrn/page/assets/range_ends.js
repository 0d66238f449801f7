// White stays white, black stays black, as in the command
// (cmudrn/restoration/range_ends.py, which says why).

const REACH = 8;
const BAND_ROWS = 256;
// Between which values the change is held back more and more, and how a pixel's channels count.
const ENDS = [
  { sign: 1, begin: 240, end: 252, extreme: Math.min },
  { sign: -1, begin: 6, end: 2, extreme: Math.max },
];

// Takes the change of RGBA back in place where all is white or black around.
export function holdRangeEnds(degraded, restored, width, height) {
  for (let start = 0; start < height; start += BAND_ROWS) {
    const stop = Math.min(start + BAND_ROWS, height);
    const [first, last] = [Math.max(start - 2 * REACH, 0), Math.min(stop + 2 * REACH, height)];
    const band = degraded.subarray(4 * width * first, 4 * width * last);
    const held = heldIn(band, width, last - first);
    if (!held) continue;
    for (let place = width * start; place < width * stop; place += 1) {
      const share = held[place - width * first];
      if (!share) continue;
      for (let c = 4 * place; c < 4 * place + 3; c += 1) {
        restored[c] -= share * (restored[c] - degraded[c]);
      }
    }
  }
}

// How much of the change is held back in a band, 0 to 1; null where nothing is.
function heldIn(band, width, height) {
  let found = null;
  for (const { sign, begin, end, extreme } of ENDS) {
    const plane = Float32Array.from({ length: width * height }, (_, i) =>
      sign * extreme(band[4 * i], band[4 * i + 1], band[4 * i + 2]));
    if (!plane.some((value) => value > sign * begin)) continue;
    const share = around(plane, width, height, lowest).map((value) =>
      Math.min(Math.max((value - sign * begin) / Math.abs(end - begin), 0), 1));
    const smooth = around(share, width, height, mean).map((value, i) => Math.min(value, share[i]));
    found = found ? found.map((value, i) => Math.max(value, smooth[i])) : smooth;
  }
  return found;
}

const lowest = (values) => values.reduce((least, value) => Math.min(least, value));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// A plane whose every value comes from those within reach, first of its row, then of its column.
function around(plane, width, height, combine) {
  const rows = along(plane, height, width, 1, width, combine);
  return along(rows, width, height, width, 1, combine);
}

function along(plane, lines, length, step, line, combine) {
  const result = new Float32Array(plane.length);
  const window = new Float32Array(2 * REACH + 1);
  for (let l = 0; l < lines; l += 1) {
    for (let at = 0; at < length; at += 1) {
      for (let i = 0; i < window.length; i += 1) {
        const place = Math.min(Math.max(at + i - REACH, 0), length - 1);
        window[i] = plane[l * line + place * step];
      }
      result[l * line + at * step] = combine(window);
    }
  }
  return result;
}
