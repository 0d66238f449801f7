// Holds back changes too faint to be weather, as the command does
// (cmudrn/restoration/change_gating.py, which says why).

const BLOCK = 32;
const REACH = 4;
const UNTOUCHED = 0.998;

const blocks = (length) => Math.ceil(length / BLOCK);

// The sums of squared change over the blocks that the inner part of a window touches:
// {top, left, rows, columns, sums}.
export function addEnergy(degraded, restored, { width, height, inner }) {
  const plane = width * height;
  const [top, left] = [Math.floor(inner.y / BLOCK), Math.floor(inner.x / BLOCK)];
  const rows = blocks(inner.y + inner.height) - top;
  const columns = blocks(inner.x + inner.width) - left;
  const sums = new Float64Array(rows * columns);
  for (let y = 0; y < inner.height; y += 1) {
    const row = (Math.floor((inner.y + y) / BLOCK) - top) * columns;
    const from = (y + inner.top) * width + inner.left;
    for (let x = 0; x < inner.width; x += 1) {
      const block = row + Math.floor((inner.x + x) / BLOCK) - left;
      for (let c = 0; c < 3; c += 1) {
        const change = restored[c * plane + from + x] - degraded[c * plane + from + x];
        sums[block] += (change * change) / 3;
      }
    }
  }
  return { top, left, rows, columns, sums };
}

export class ChangeGate {
  constructor(height, width, decibels) {
    Object.assign(this, { height, width, decibels });
    this.rows = blocks(height);
    this.columns = blocks(width);
    this.energy = new Float64Array(this.rows * this.columns);
  }

  add({ top, left, rows, columns, sums }) {
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) {
        this.energy[(top + y) * this.columns + left + x] += sums[y * columns + x];
      }
    }
  }

  // The mean square of the whole change, over pixels and colours.
  mean() {
    return this.energy.reduce((sum, one) => sum + one, 0) / (this.height * this.width);
  }

  gains() {
    const gains = new Float32Array(this.energy.length);
    for (let y = 0; y < this.rows; y += 1) {
      for (let x = 0; x < this.columns; x += 1) {
        const squared = (this.density(y, x) * 10 ** (this.decibels / 10)) ** 2;
        gains[y * this.columns + x] = squared / (squared + 1);
      }
    }
    return gains;
  }

  density(row, column) {
    let [energy, pixels] = [0, 0];
    const [last, right] = [Math.min(row + REACH + 1, this.rows), Math.min(column + REACH + 1, this.columns)];
    for (let y = Math.max(row - REACH, 0); y < last; y += 1) {
      for (let x = Math.max(column - REACH, 0); x < right; x += 1) {
        energy += this.energy[y * this.columns + x];
        pixels += side(y, this.height) * side(x, this.width);
      }
    }
    return energy / pixels;
  }

  // Takes the change of RGBA back in place.
  apply(degraded, restored) {
    const gains = this.gains();
    if (Math.min(...rowLeast(gains, this.columns)) >= UNTOUCHED) return;
    const across = places(this.width, this.columns);
    const down = places(this.height, this.rows);
    for (let y = 0; y < this.height; y += 1) {
      const { before, after, part } = down[y];
      for (let x = 0; x < this.width; x += 1) {
        const { before: left, after: right, part: share } = across[x];
        const cell = (column) => {
          const value = gains[before * this.columns + column];
          return value + part * (gains[after * this.columns + column] - value);
        };
        const gain = cell(left) + share * (cell(right) - cell(left));
        if (gain >= UNTOUCHED) continue;
        const at = 4 * (y * this.width + x);
        for (let c = at; c < at + 3; c += 1) {
          restored[c] = degraded[c] + gain * (restored[c] - degraded[c]);
        }
      }
    }
  }
}

const side = (block, length) => Math.min(BLOCK, length - block * BLOCK);

function rowLeast(gains, columns) {
  const least = [];
  for (let at = 0; at < gains.length; at += columns) {
    least.push(Math.min(...gains.subarray(at, at + columns)));
  }
  return least;
}

// Between which cells each position of an axis lies, and how far on the way.
export function places(length, cells) {
  return Array.from({ length }, (_, at) => {
    const place = Math.min(Math.max(((at + 0.5) * cells) / length - 0.5, 0), cells - 1);
    const before = Math.floor(place);
    return { before, after: Math.min(before + 1, cells - 1), part: place - before };
  });
}
