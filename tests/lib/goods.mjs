// What allowed.test.mjs asks for: a long download, a page of many parts, and files that the test itself has put there.
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';

/** More than every buffer on the way: two of the relay's, and what kernels keep of a connection (at most 6 MiB each). */
export const LONG_BYTES = 24 << 20;
const BLOCK = crypto.createHash('shake256', { outputLength: 1 << 16 }).update('berth').digest();
const blocks = () => Array.from({ length: LONG_BYTES / BLOCK.length }, (_, i) => Buffer.concat([BLOCK.subarray(i), BLOCK.subarray(0, i)]));
export const longDigest = () => blocks().reduce((hash, b) => hash.update(b), crypto.createHash('sha256')).digest('hex');

export const PARTS = 40; // half of them requests, the others scripts and pictures
/** Where a test leaves files to be served below /pub/. */
export const PUBLIC = path.join(process.env.WORLD_DIR ?? '', 'pub');

const parts = (n, f) => Array.from({ length: n }, (_, i) => f(i)).join('\n');

export const goodsPages = {
  '/long': (req, res) => {
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': LONG_BYTES });
    Readable.from(blocks()).pipe(res);
  },
  // A style sheet, scripts, pictures and requests of its own: each of the PARTS is counted when it is there.
  '/parts': (req, res) => {
    res.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    res.end(`<!doctype html><title>Parts</title><link rel="stylesheet" href="/part.css?0"><script>
window.there = 0;
window.one = () => { if (++window.there === ${PARTS}) document.title = 'All parts'; };
for (let i = 0; i < ${PARTS / 2}; i++) fetch('/echo?' + i, { method: 'POST', body: String(i) }).then((r) => r.text()).then((t) => t === 'got ' + i && one());
</script>
${parts(PARTS / 4, (i) => `<script src="/part.js?${i}"></script>`)}
${parts(PARTS / 4, (i) => `<img src="/part.svg?${i}" onload="one()">`)}`);
  },
  '/part.css': (req, res) => {
    res.writeHead(200, { 'content-type': 'text/css' });
    res.end('body { color: rgb(1, 2, 3) }');
  },
  '/part.js': (req, res) => {
    res.writeHead(200, { 'content-type': 'text/javascript' });
    res.end('one();');
  },
  '/part.svg': (req, res) => {
    res.writeHead(200, { 'content-type': 'image/svg+xml' });
    res.end('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>');
  },
};

/** Serves a file below PUBLIC; one without an ending is JSON. */
export function servePublic(req, res) {
  const file = path.join(PUBLIC, path.normalize(decodeURIComponent(new URL(req.url, 'http://x').pathname)).slice('/pub/'.length));
  fs.readFile(file, (error, data) => {
    res.writeHead(error ? 404 : 200, { 'content-type': path.extname(file) ? 'application/octet-stream' : 'application/json' });
    res.end(data);
  });
}
