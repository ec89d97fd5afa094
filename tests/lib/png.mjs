// PNG as tests need it: 8 bits of RGB or RGBA, read and written, without any library under test.
import zlib from 'node:zlib';

const paeth = (a, b, c) => {
  const p = a + b - c, x = Math.abs(p - a), y = Math.abs(p - b), z = Math.abs(p - c);
  return x <= y && x <= z ? a : y <= z ? b : c;
};

// { width, height, channels, pixels }
export function readPng(file) {
  const width = file.readUInt32BE(16), height = file.readUInt32BE(20), channels = file[25] === 6 ? 4 : 3;
  const parts = [];
  for (let at = 8; at < file.length;) {
    const n = file.readUInt32BE(at);
    if (file.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(file.subarray(at + 8, at + 8 + n));
    at += 12 + n;
  }
  const raw = zlib.inflateSync(Buffer.concat(parts)), stride = width * channels, pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const kind = raw[y * (stride + 1)], from = y * (stride + 1) + 1, to = y * stride;
    for (let x = 0; x < stride; x++) {
      const a = x >= channels ? pixels[to + x - channels] : 0, b = y ? pixels[to + x - stride] : 0;
      const c = x >= channels && y ? pixels[to + x - stride - channels] : 0;
      pixels[to + x] = raw[from + x] + [0, a, b, (a + b) >> 1, paeth(a, b, c)][kind];
    }
  }
  return { width, height, channels, pixels };
}

const chunk = (type, data) => {
  const out = Buffer.alloc(12 + data.length);
  out.writeUInt32BE(data.length);
  out.write(type, 4, 'latin1');
  data.copy(out, 8);
  out.writeUInt32BE(crc(out.subarray(4, 8 + data.length)), 8 + data.length);
  return out;
};
const crc = (data) => {
  let c = ~0;
  for (const b of data) {
    c ^= b;
    for (let i = 0; i < 8; i++) c = (c >>> 1) ^ (c & 1 ? 0xedb88320 : 0);
  }
  return ~c >>> 0;
};

// The header says what it is told to; pixels are rows of bytes, one filter byte before each is added.
export function writePng({ width, height, type = 2, depth = 8, interlace = 0, stride, pixels }) {
  const head = Buffer.alloc(13), rows = [];
  head.writeUInt32BE(width);
  head.writeUInt32BE(height, 4);
  head.set([depth, type, 0, 0, interlace], 8);
  for (let at = 0; at < pixels.length; at += stride) rows.push(Buffer.from([0]), pixels.subarray(at, at + stride));
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', head),
    chunk('IDAT', zlib.deflateSync(Buffer.concat(rows))), chunk('IEND', Buffer.alloc(0))]);
}
