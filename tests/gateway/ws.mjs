// A WebSocket client in plain sight: every frame can be made wrong.
import crypto from 'node:crypto';
import net from 'node:net';

export class WebSocket {
  static open(port, target, { headers = {}, protocol, host = `127.0.0.1:${port}` } = {}) {
    const ws = new WebSocket();
    ws.closed = false; ws.closeCode = null; ws.pongs = []; ws.onMessage = () => {};
    ws.buffer = Buffer.alloc(0); ws.parts = [];
    const lines = [`GET ${target} HTTP/1.1`, `Host: ${host}`, 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${crypto.randomBytes(16).toString('base64')}`, ...Object.entries(headers).map(([k, v]) => `${k}: ${v}`)];
    if (protocol) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
    return new Promise((resolve, reject) => {
      ws.socket = net.connect(port, '127.0.0.1', () => ws.socket.write(`${lines.join('\r\n')}\r\n\r\n`));
      ws.socket.on('error', () => {});
      ws.socket.on('close', () => { ws.closed = true; if (!ws.isOpen) reject(Object.assign(new Error(`refused: ${ws.buffer}`), { status: Number(`${ws.buffer}`.split(' ')[1]) })); });
      ws.socket.on('data', (d) => {
        ws.buffer = Buffer.concat([ws.buffer, d]);
        if (!ws.isOpen) {
          const end = ws.buffer.indexOf('\r\n\r\n');
          if (end < 0 || !`${ws.buffer.subarray(0, 12)}`.endsWith('101')) return;
          ws.protocol = /sec-websocket-protocol: (\S+)/i.exec(`${ws.buffer.subarray(0, end)}`)?.[1];
          ws.buffer = ws.buffer.subarray(end + 4);
          ws.isOpen = true;
          resolve(ws);
        }
        queueMicrotask(() => ws.read());
      });
    });
  }

  read() {
    for (;;) {
      const b = this.buffer;
      if (b.length < 2) return;
      let n = b[1] & 127, at = 2;
      if (n === 126) { if (b.length < 4) return; n = b.readUInt16BE(2); at = 4; } else if (n === 127) { if (b.length < 10) return; n = Number(b.readBigUInt64BE(2)); at = 10; }
      if (b.length < at + n) return;
      this.frame(b[0] & 15, (b[0] & 128) !== 0, Buffer.from(b.subarray(at, at + n)));
      this.buffer = b.subarray(at + n);
    }
  }

  frame(op, fin, p) {
    if (op === 8) { this.closeCode = p.length >= 2 ? p.readUInt16BE(0) : 1005; this.sendFrame(8, p.subarray(0, 2), true); this.socket.end(); return; }
    if (op === 9) { this.sendFrame(10, p, true); return; }
    if (op === 10) { this.pongs.push(`${p}`); return; }
    if (op !== 0) this.text = op === 1;
    this.parts.push(p);
    if (!fin) return;
    const whole = Buffer.concat(this.parts);
    this.parts = [];
    this.onMessage(this.text ? whole.toString() : whole, this.text);
  }

  send(data) { this.sendFrame(typeof data === 'string' ? 1 : 2, Buffer.from(data), true); }

  sendFrame(op, p, fin) {
    const n = p.length, mask = crypto.randomBytes(4), body = Buffer.from(p);
    const h = n < 126 ? Buffer.alloc(2) : n < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
    h[0] = (fin ? 128 : 0) | op;
    h[1] = 128 | (n < 126 ? n : n < 65536 ? 126 : 127);
    if (h.length === 4) h.writeUInt16BE(n, 2);
    if (h.length === 10) h.writeBigUInt64BE(BigInt(n), 2);
    for (let i = 0; i < n; i++) body[i] ^= mask[i & 3];
    this.socket.write(Buffer.concat([h, mask, body]));
  }
}
