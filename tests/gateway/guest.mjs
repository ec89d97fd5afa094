// The guest's end of the guest channel (base/guest.h): honest by default, or lying in a named way.
import { spawn } from 'node:child_process';
import net from 'node:net';

const HEADER = 8;
const T = { EXEC_START: 0x10, STDIN: 0x11, SIGNAL: 0x12, WINSIZE: 0x13, STARTED: 0x90, FAILED: 0x91, STDOUT: 0x92, STDERR: 0x93, EXIT: 0x94 };

const hello = (status = 0) => Buffer.from([0x42, 0x52, 0x54, 0x48, 1, status, 0, 0]);
const u32 = (...v) => { const b = Buffer.alloc(4 * v.length); v.forEach((x, i) => b.writeUInt32LE(x >>> 0, 4 * i)); return b; };
export function frame(type, payload = Buffer.alloc(0)) {
  const h = Buffer.alloc(HEADER);
  h.writeUInt32LE(payload.length, 0);
  h[4] = type;
  return Buffer.concat([h, payload]);
}

function parseStart(p) {
  const flags = p.readUInt32LE(0), argc = p.readUInt16LE(8), envc = p.readUInt16LE(10);
  const strings = p.subarray(12).toString('latin1').split('\0');
  return { tty: flags & 1, rows: p.readUInt16LE(4), columns: p.readUInt16LE(6), user: strings[0], cwd: strings[1],
    argv: strings.slice(2, 2 + argc).map((s) => Buffer.from(s, 'latin1').toString()), env: strings.slice(2 + argc, 2 + argc + envc) };
}

// What a lying guest sends instead of an honest answer to EXEC_START.
export const lies = {
  'no hello': (s) => s.write(Buffer.from('GET / HTTP/1.1\r\n')),
  'bad status': (s) => s.write(hello(3)),
  'closes at once': (s) => s.destroy(),
  'closes after hello': (s) => { s.write(hello()); s.end(); },
  'closes while running': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(frame(T.STDOUT, Buffer.from('x'))); s.end(); },
  'output before start': (s) => { s.write(hello()); s.write(frame(T.STDOUT, Buffer.from('early'))); },
  'exit before start': (s) => { s.write(hello()); s.write(frame(T.EXIT, u32(0, 0))); },
  'started twice': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(frame(T.STARTED, u32(8))); },
  'started too short': (s) => { s.write(hello()); s.write(frame(T.STARTED, Buffer.from([1]))); },
  'length over the limit': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(Buffer.from([1, 0, 1, 0, T.STDOUT, 0, 0, 0])); },
  'length of 4 GiB': (s) => { s.write(hello()); s.write(Buffer.from([255, 255, 255, 255, T.STARTED, 0, 0, 0])); },
  'zeroes that are none': (s) => { s.write(hello()); s.write(Buffer.from([4, 0, 0, 0, T.STARTED, 1, 0, 0, 1, 0, 0, 0])); },
  'unknown type': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(frame(0x77)); },
  'a host type': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(frame(T.STDIN, Buffer.from('hi'))); },
  'exit too long': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(frame(T.EXIT, u32(0, 0, 0))); },
  'exit out of range': (s) => { s.write(hello()); s.write(frame(T.STARTED, u32(7))); s.write(frame(T.EXIT, u32(100000, 0))); },
  'failed without a reason': (s) => { s.write(hello()); s.write(frame(T.FAILED, Buffer.alloc(0))); },
};

export class Guest {
  static async listen() {
    const g = new Guest();
    g.lie = null;
    g.sockets = new Set();
    g.lastStart = null;
    g.helperExit = null; // { code, stdout, stderr } instead of running berth-init
    g.helperCommand = null; // how the real berth-init is run here
    g.received = 0;
    g.windows = [];
    g.server = net.createServer((s) => g.serve(s)).listen(0, '127.0.0.1');
    await new Promise((r) => g.server.once('listening', r));
    g.port = g.server.address().port;
    return g;
  }

  close() { this.server.close(); for (const s of this.sockets) s.destroy(); }

  serve(s) {
    this.sockets.add(s);
    s.on('error', () => {});
    s.on('close', () => { this.sockets.delete(s); s.child?.kill('SIGKILL'); });
    let data = Buffer.alloc(0), greeted = false;
    s.on('data', (d) => {
      data = Buffer.concat([data, d]);
      for (;;) {
        if (!greeted) {
          if (data.length < 8) return;
          if (data.toString('latin1', 0, 4) !== 'BRTH' || data[5] !== 2) { s.destroy(); return; }
          data = data.subarray(8);
          greeted = true;
          if (!this.lie) s.write(hello());
        }
        if (data.length < HEADER) return;
        const n = data.readUInt32LE(0);
        if (data.length < HEADER + n) return;
        this.take(s, data[4], data.subarray(HEADER, HEADER + n));
        data = data.subarray(HEADER + n);
      }
    });
  }

  take(s, type, p) {
    if (type === T.EXEC_START) this.start(s, parseStart(p));
    else if (type === T.STDIN && s.input) s.input(Buffer.from(p));
    else if (type === T.SIGNAL && s.child) { try { process.kill(-s.child.pid, p.readUInt32LE(0)); } catch { /* gone */ } }
    else if (type === T.WINSIZE) this.windows.push([p.readUInt16LE(0), p.readUInt16LE(2)]);
  }

  start(s, x) {
    this.lastStart = x;
    if (this.lie) { lies[this.lie](s); return; }
    if (x.argv[0] === 'berth-init' && this.helperExit) { this.helper(s); return; }
    if (x.argv[0] === '/endless') { this.endless(s); return; }
    const argv = x.argv[0] === 'berth-init' && this.helperCommand ? [...this.helperCommand, ...x.argv.slice(1)] : x.argv;
    const child = spawn(argv[0], argv.slice(1), { stdio: 'pipe', detached: true, cwd: x.cwd || '/tmp',
      env: { PATH: process.env.PATH, ...Object.fromEntries(x.env.map((e) => [e.slice(0, e.indexOf('=')), e.slice(e.indexOf('=') + 1)])) } });
    s.child = child;
    // In berth-init's own words.
    child.on('error', () => { s.write(frame(T.FAILED, Buffer.concat([u32(2), Buffer.from('No such file or directory')]))); s.end(); });
    child.on('spawn', () => s.write(frame(T.STARTED, u32(child.pid))));
    child.stdin.on('error', () => {});
    const send = (t, out) => out.on('data', (d) => {
      for (let i = 0; i < d.length; i += 65536) {
        if (!s.write(frame(t, d.subarray(i, i + 65536)))) { out.pause(); s.once('drain', () => out.resume()); }
      }
    });
    send(T.STDOUT, child.stdout);
    send(T.STDERR, child.stderr);
    s.input = (d) => {
      if (d.length === 0) { child.stdin.end(); return; }
      if (!child.stdin.write(d)) { s.pause(); child.stdin.once('drain', () => s.resume()); }
    };
    child.on('close', (code, signal) => {
      s.write(frame(T.EXIT, u32(code ?? 0, signal ? { SIGKILL: 9, SIGTERM: 15, SIGINT: 2 }[signal] ?? 1 : 0)));
      s.end();
    });
  }

  helper(s) {
    const h = this.helperExit;
    s.write(frame(T.STARTED, u32(5)));
    const end = () => {
      if (h.stderr) s.write(frame(T.STDERR, Buffer.from(h.stderr)));
      s.write(frame(T.EXIT, u32(h.code ?? 0, 0)));
      s.end();
    };
    this.received = 0;
    this.chunks = [];
    s.input = (d) => {
      if (d.length === 0) { end(); return; }
      this.received += d.length;
      if (h.keep) this.chunks.push(d);
    };
    if (h.stdout) for (let i = 0; i < h.stdout.length; i += 65536) s.write(frame(T.STDOUT, h.stdout.subarray(i, i + 65536)));
    if (h.early) end();
  }

  endless(s) {
    s.write(frame(T.STARTED, u32(5)));
    this.sent = 0;
    const block = frame(T.STDOUT, Buffer.alloc(65536, 'y'));
    const more = () => { while (!s.destroyed && this.sent < 4e9) { this.sent += 65536; if (!s.write(block)) { s.once('drain', more); return; } } };
    more();
  }
}
