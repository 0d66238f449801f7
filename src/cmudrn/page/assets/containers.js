// What JPEG and PNG files hold beside their pixels, taken apart and put together byte by byte.

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const ascii = (bytes, start, length) => String.fromCharCode(...bytes.subarray(start, start + length));

function join(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

const SIGNATURES = {
  jpeg: (b) => b[0] === 0xff && b[1] === 0xd8 && b[2] === 0xff,
  png: (b) => ascii(b, 0, 8) === "\x89PNG\r\n\x1a\n",
  gif: (b) => ascii(b, 0, 4) === "GIF8",
  webp: (b) => ascii(b, 0, 4) === "RIFF" && ascii(b, 8, 4) === "WEBP",
  bmp: (b) => ascii(b, 0, 2) === "BM",
  tiff: (b) => ["II*\0", "MM\0*", "II+\0", "MM\0+"].includes(ascii(b, 0, 4)),
  avif: (b) => ascii(b, 4, 4) === "ftyp" && /avi[fs]/.test(ascii(b, 8, 32)),
  heic: (b) => ascii(b, 4, 4) === "ftyp" && /hei[cfmsx]|hev[cx]|mif1/.test(ascii(b, 8, 32)),
};

// The kind of a file, told by its first bytes; "" for others.
export function kindOf(bytes) {
  return Object.keys(SIGNATURES).find((kind) => SIGNATURES[kind](bytes)) ?? "";
}

// --- JPEG ----------------------------------------------------------------------------------------

// The segments before the first scan: {marker, bytes, body}.
function jpegSegments(bytes) {
  const segments = [];
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at += 1; // fill bytes
      continue;
    }
    if (marker === 0xda || marker === 0xd9) break;
    const end = at + 2 + view(bytes).getUint16(at + 2);
    if (end > bytes.length) break;
    segments.push({ marker, bytes: bytes.subarray(at, end), body: bytes.subarray(at + 4, end) });
    at = end;
  }
  return segments;
}

const isFrame = ({ marker }) =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
const starts = (segment, marker, text) =>
  segment.marker === marker && ascii(segment.body, 0, text.length) === text;

// What a JPEG says of itself: {channels, orientation, profile, hasSecond}.
export function readJpeg(bytes) {
  const segments = jpegSegments(bytes);
  const exif = segments.find((one) => starts(one, 0xe1, "Exif\0\0"));
  const profile = segments
    .filter((one) => starts(one, 0xe2, "ICC_PROFILE\0"))
    .sort((one, other) => one.body[12] - other.body[12])
    .map((one) => one.body.subarray(14));
  return {
    channels: segments.find(isFrame)?.body[5] ?? 0,
    orientation: exif ? orientationOf(exif.body.subarray(6)) : 1,
    profile: profile.length ? join(profile) : null,
    hasSecond: segments.some((one) => starts(one, 0xe2, "MPF\0")),
  };
}

// The orientation in EXIF data, 1 to 8; 1 where there is none.
export function orientationOf(tiff) {
  const little = ascii(tiff, 0, 2) === "II";
  const data = view(tiff);
  try {
    const start = data.getUint32(4, little);
    for (let i = 0; i < data.getUint16(start, little); i += 1) {
      const at = start + 2 + 12 * i;
      if (data.getUint16(at, little) !== 274) continue;
      const value = data.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? value : 1;
    }
  } catch {
    // cut short: as if it said nothing
  }
  return 1;
}

// A JPEG that the browser wrote, with the metadata of the file that it was made from. What tells
// how that file's colours were coded, and where its further pictures lie, is not true of this one.
export function withJpegMetadata(written, original) {
  const { channels } = readJpeg(original);
  const carried = jpegSegments(original).filter(
    (one) =>
      (one.marker === 0xfe || (one.marker >= 0xe0 && one.marker <= 0xef && one.marker !== 0xee)) &&
      !starts(one, 0xe2, "MPF\0") &&
      !(channels === 1 && starts(one, 0xe2, "ICC_PROFILE\0")),
  );
  const own = jpegSegments(written);
  const first = own[own.length - 1].bytes;
  const rest = written.subarray(first.byteOffset + first.length - written.byteOffset);
  const needed = own.filter(({ marker }) => marker < 0xe0);
  return join([written.subarray(0, 2), ...[...carried, ...needed].map((one) => one.bytes), rest]);
}

// --- PNG -----------------------------------------------------------------------------------------

const CARRIED = new Set(
  "cHRM gAMA iCCP sRGB cICP pHYs tEXt zTXt iTXt eXIf tIME".split(" "),
);

function pngChunks(bytes) {
  const chunks = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 12 + view(bytes).getUint32(at);
    if (end > bytes.length) break;
    const name = ascii(bytes, at + 4, 4);
    chunks.push({ name, bytes: bytes.subarray(at, end), body: bytes.subarray(at + 8, end - 4) });
    at = end;
  }
  return chunks;
}

// What a PNG says of itself: {depth, isAnimated, isTurned}.
export function readPng(bytes) {
  const chunks = pngChunks(bytes);
  const exif = chunks.find((one) => one.name === "eXIf");
  return {
    depth: bytes[24],
    isAnimated: chunks.some((one) => one.name === "acTL"),
    isTurned: Boolean(exif) && orientationOf(exif.body) !== 1,
  };
}

// A PNG that the browser wrote, with texts and colours of the one that it was made from.
export function withPngMetadata(written, original) {
  const { isTurned } = readPng(original);
  const seen = pngChunks(original).filter(
    ({ name }) => CARRIED.has(name) && !(isTurned && name === "eXIf"),
  );
  return insertChunks(written, seen.map((one) => one.bytes));
}

function insertChunks(written, added) {
  const [header, ...others] = pngChunks(written);
  const kept = others.filter(({ name }) => !CARRIED.has(name)).map((one) => one.bytes);
  return join([written.subarray(0, 8), header.bytes, ...added, ...kept]);
}

// A PNG with a colour profile.
export async function withProfile(written, profile) {
  const packed = await deflate(profile);
  const body = join([new TextEncoder().encode("profile\0\0"), packed]);
  return insertChunks(written, [chunk("iCCP", body)]);
}

async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function chunk(name, body) {
  const bytes = new Uint8Array(12 + body.length);
  view(bytes).setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(name), 4);
  bytes.set(body, 8);
  view(bytes).setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// --- WebP ----------------------------------------------------------------------------------------

export const isAnimatedWebp = (bytes) => ascii(bytes, 12, 4) === "VP8X" && (bytes[20] & 2) !== 0;
