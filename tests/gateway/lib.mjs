// The real gateway in front of a made-up berthd and a made-up guest.
// BERTH_BUILD: the build folder (its cdp-proxy/berth-gateway and cdp-proxy/fake-daemon are run).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import readline from 'node:readline';
import { Guest } from './guest.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const BUILD = path.resolve(process.env.BERTH_BUILD ?? path.join(root, 'build'));

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export async function until(what, fn, ms = 60000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) {
    const v = await fn();
    if (v) return v;
  }
  throw new Error(`waited ${ms} ms in vain for ${what}`);
}

// Below those that the kernel gives to others in the meantime.
export async function freePort() {
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 20000), s = net.createServer();
    const free = await new Promise((r) => s.once('error', () => r(false)).listen(port, '127.0.0.1', () => r(true)));
    if (!free) continue;
    await new Promise((r) => s.close(r));
    return port;
  }
}

export class World {
  static async start({ conf = '', daemon = true, cdpPort = 1, guestPort, build = BUILD } = {}) {
    const w = new World();
    w.build = build;
    w.state = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-gateway-'));
    fs.mkdirSync(path.join(w.state, 'run/control'), { recursive: true, mode: 0o750 });
    if (process.getuid() === 0) fs.chownSync(path.join(w.state, 'run/control'), 0, 2);
    if (conf) fs.writeFileSync(path.join(w.state, 'berth.conf'), conf);
    w.guest = await Guest.listen();
    w.cdpPort = cdpPort;
    w.guestPort = guestPort ?? w.guest.port;
    w.port = await freePort();
    w.log = '';
    w.ops = []; // what berthd was asked about sleep
    w.startGateway();
    if (daemon) await w.startDaemon();
    await until('the gateway', async () => {
      if (w.gateway.exitCode !== null) throw new Error(`the gateway ended: ${w.log}`);
      const r = await w.get('/healthz').catch(() => null);
      return r && (!daemon || r.json.daemon === 'up');
    });
    return w;
  }

  startGateway({ listen = `127.0.0.1:${this.port}` } = {}) {
    this.gateway = spawn(path.join(this.build, 'cdp-proxy/berth-gateway'),
      ['--state', this.state, '--listen', listen],
      { stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, BERTH_SHARE: this.share(), ASAN_OPTIONS: 'detect_leaks=1:abort_on_error=0', UBSAN_OPTIONS: 'halt_on_error=1' } });
    this.gateway.stderr.on('data', (d) => { this.log += d; });
  }

  share() {
    const dir = path.join(this.state, 'share');
    fs.mkdirSync(dir, { recursive: true });
    fs.copyFileSync(path.join(root, 'cdp-proxy/share/start.html'), path.join(dir, 'start.html'));
    fs.copyFileSync(path.join(root, 'docs/openapi.json'), path.join(dir, 'openapi.json'));
    return dir;
  }

  async startDaemon({ without } = {}) {
    this.daemon = spawn(path.join(this.build, 'cdp-proxy/fake-daemon'),
      [path.join(this.state, 'run/control/control.sock'), String(this.cdpPort), String(this.guestPort), ...(without ? [without] : [])],
      { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = readline.createInterface(this.daemon.stdout);
    await new Promise((r) => lines.once('line', r));
    lines.on('line', (line) => this.ops.push(line));
  }

  async stopDaemon() {
    const gone = new Promise((r) => this.daemon.once('exit', r));
    this.daemon.kill('SIGKILL');
    await gone;
  }

  event(type, id = '') { this.daemon.stdin.write(`${type} ${id}\n`); }

  // Ends everything; the gateway must end by itself, with status 0 and nothing from a sanitizer.
  async stop() {
    const gone = this.gateway.exitCode !== null ? this.gateway.exitCode
      : new Promise((r) => this.gateway.once('exit', (code, signal) => r(code ?? signal)));
    this.gateway.kill('SIGTERM');
    // Nothing may wait for this time limit when the gateway has ended.
    const code = await Promise.race([gone, new Promise((r) => setTimeout(r, 60000, 'hangs').unref())]);
    if (code === 'hangs') this.gateway.kill('SIGKILL');
    this.daemon?.kill('SIGKILL');
    this.guest.close();
    fs.rmSync(this.state, { recursive: true, force: true });
    if (code !== 0 || /Sanitizer|runtime error/.test(this.log)) throw new Error(`the gateway ended with ${code}:\n${this.log}`);
  }

  get socket() { return path.join(this.state, 'run/api/api.sock'); }
  get startSocket() { return path.join(this.state, 'run/service/start.sock'); }

  // One request. token: null for none. by: 'tcp', 'socket', 'start', or a port.
  request(method, target, { token = 'admin-token', headers = {}, body, by = 'tcp', json } = {}) {
    const h = { ...headers };
    if (token && by === 'tcp') h.authorization ??= `Bearer ${token}`;
    if (json !== undefined) { body = JSON.stringify(json); h['content-type'] ??= 'application/json'; }
    const where = by === 'socket' ? { socketPath: this.socket } : by === 'start' ? { socketPath: this.startSocket }
      : { host: '127.0.0.1', port: by === 'tcp' ? this.port : by };
    return new Promise((resolve, reject) => {
      const q = http.request({ ...where, method, path: target, headers: h, agent: false }, (res) => {
        const parts = [];
        res.on('data', (d) => parts.push(d));
        res.on('error', reject);
        res.on('close', () => { if (!res.complete) reject(new Error('cut')); });
        res.on('end', () => {
          const bytes = Buffer.concat(parts), text = bytes.toString();
          let parsed;
          try { parsed = JSON.parse(text); } catch { parsed = undefined; }
          resolve({ status: res.statusCode, headers: res.headers, bytes, text, json: parsed });
        });
      });
      q.on('error', reject);
      if (body?.pipe) body.pipe(q); else q.end(body);
    });
  }

  get(target, options) { return this.request('GET', target, options); }

  // Bytes as they are; resolves with all that came back once the other side has closed.
  raw(bytes, { hold = 0, socketPath } = {}) {
    return new Promise((resolve) => {
      const s = socketPath ? net.connect(socketPath) : net.connect(this.port, '127.0.0.1');
      const parts = [];
      s.on('data', (d) => parts.push(d));
      s.on('error', () => {});
      s.on('close', () => resolve(Buffer.concat(parts).toString('latin1')));
      const list = Array.isArray(bytes) ? bytes : [bytes];
      (async () => {
        for (const b of list) { s.write(typeof b === 'string' ? Buffer.from(b, 'latin1') : b); if (hold) await sleep(hold); }
      })();
    });
  }
}
