// A WebSocket endpoint (RFC 6455) that sends every message back, behind "echo: " when it is text.
import crypto from 'node:crypto';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const MESSAGE_MAX = 1 << 20;

function frame(op, payload) {
  const n = payload.length;
  let head;
  if (n < 126) head = Buffer.from([0x80 | op, n]);
  else if (n < 65536) head = Buffer.from([0x80 | op, 126, n >> 8, n & 255]);
  else {
    head = Buffer.alloc(10);
    head[0] = 0x80 | op;
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(n), 2);
  }
  return Buffer.concat([head, payload]);
}

/** Takes one whole frame off the front: {op, payload, size}, or null. */
function take(data) {
  if (data.length < 6) return null;
  let n = data[1] & 127;
  let at = 2;
  if (n === 126) {
    if (data.length < 8) return null;
    n = data.readUInt16BE(2);
    at = 4;
  } else if (n === 127) {
    if (data.length < 14) return null;
    n = Number(data.readBigUInt64BE(2));
    at = 10;
  }
  if (n > MESSAGE_MAX) throw new Error('too large');
  if (data.length < at + 4 + n) return null;
  const payload = Buffer.from(data.subarray(at + 4, at + 4 + n));
  for (let i = 0; i < n; i++) payload[i] ^= data[at + (i & 3)];
  return { op: data[0] & 15, payload, size: at + 4 + n };
}

export function serveEcho(req, socket) {
  const key = req.headers['sec-websocket-key'];
  if (!key) return socket.destroy();
  const accept = crypto.createHash('sha1').update(key + GUID).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let pending = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    try {
      for (let f = take(pending); f; f = take(pending)) {
        pending = pending.subarray(f.size);
        if (f.op === 1) socket.write(frame(1, Buffer.concat([Buffer.from('echo: '), f.payload])));
        else if (f.op === 2) socket.write(frame(2, f.payload));
        else if (f.op === 9) socket.write(frame(10, f.payload));
        else if (f.op === 8) socket.end(frame(8, f.payload));
      }
    } catch {
      socket.destroy();
    }
  });
}
