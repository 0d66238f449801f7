// Cuts an image into windows that overlap by what the network can see, as the command does
// (cmudrn/restoration/tiling.py), and divides them between workers.

const up = (length, alignment) => Math.ceil(length / alignment) * alignment;

// The pieces of one axis: the window [first, last), what is kept of it [start, stop), and how far
// the window goes beyond the image.
export function spans(length, core, radius, alignment) {
  const pieces = [];
  for (let start = 0; start < length; start += core) {
    const stop = Math.min(start + core, length);
    const first = Math.floor(Math.max(0, start - radius) / alignment) * alignment;
    const last = up(Math.min(length, stop + radius), alignment);
    pieces.push({ first, last, start, stop, padding: Math.max(0, last - length) });
  }
  return pieces;
}

const work = (length, core, radius, alignment) =>
  spans(length, core, radius, alignment).reduce((sum, span) => sum + span.last - span.first, 0);

function coreSize(height, width, radius, most, alignment) {
  const margin = radius + alignment - 1;
  const pixels = Math.max(most, (4 * margin + 16) ** 2);
  let best = [Infinity, 0, 0];
  for (let columns = 1; columns <= Math.ceil(width / 8); columns += 1) {
    const coreWidth = Math.ceil(width / columns);
    const highest = Math.floor(pixels / Math.min(up(width, alignment), coreWidth + 2 * margin));
    const fits = highest >= up(height, alignment);
    if (!fits && highest <= 2 * margin) continue;
    const rows = fits ? 1 : Math.ceil(height / (highest - 2 * margin));
    const coreHeight = Math.ceil(height / rows);
    const sum =
      work(height, coreHeight, radius, alignment) * work(width, coreWidth, radius, alignment);
    if (sum < best[0]) best = [sum, coreHeight, coreWidth];
  }
  return best.slice(1);
}

// The tiles of an image: {rows, columns}, a span each, from windows of at most `most` pixels.
export function makeTiles(height, width, { radius, alignment }, most) {
  const whole = up(height, alignment) * up(width, alignment) <= most;
  const [coreHeight, coreWidth] = whole
    ? [height, width]
    : coreSize(height, width, radius, most, alignment);
  const across = spans(width, coreWidth, radius, alignment);
  return spans(height, coreHeight, radius, alignment).flatMap((rows) =>
    across.map((columns) => ({ rows, columns })),
  );
}

const pixelsOf = ({ rows, columns }) => (rows.last - rows.first) * (columns.last - columns.first);

// The tiles that so many workers finish first. Smaller ones keep more workers busy, but overlap
// more; so several sizes are tried.
export function divide(height, width, model, most, workers) {
  const choices = [1, 0.75, 0.5, 0.35, 0.25].map((part) =>
    makeTiles(height, width, model, part * Math.min(most, height * width * 1.1)),
  );
  return choices.reduce((best, tiles) => (time(tiles, workers) < time(best, workers) ? tiles : best));
}

function time(tiles, workers) {
  const busy = new Array(workers).fill(0);
  for (const tile of tiles) busy[busy.indexOf(Math.min(...busy))] += pixelsOf(tile);
  return Math.max(...busy);
}
