// A Chromium of this host as an agent's browser: headless, on loopback, with /home/agent of its own.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, until } from './lib.mjs';

// BERTH_CHROMIUM: another one than the host's.
const binary = [process.env.BERTH_CHROMIUM, '/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find((f) => f && fs.existsSync(f));
export const noChromium = binary ? false : 'no Chromium on this host';

export class Chromium {
  // flags: more of the command line.
  static async start({ flags = [] } = {}) {
    const c = new Chromium();
    c.flags = flags;
    c.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-chromium-'));
    for (const d of ['home/agent/Downloads', 'home/agent/Uploads', 'profile']) fs.mkdirSync(path.join(c.dir, d), { recursive: true });
    c.port = await freePort();
    await c.run();
    return c;
  }

  get downloads() { return path.join(this.dir, 'home/agent/Downloads'); }
  get uploads() { return path.join(this.dir, 'home/agent/Uploads'); }

  async run() {
    const unshare = process.getuid() === 0 ? ['-m'] : ['-r', '-m'];
    const args = [binary, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP *.test 127.0.0.1',
      `--remote-debugging-port=${this.port}`, `--user-data-dir=${path.join(this.dir, 'profile')}`, ...this.flags, 'about:blank'];
    this.process = spawn('unshare', [...unshare, 'sh', '-c', 'mount --bind "$0" /home && exec "$@"', path.join(this.dir, 'home'), ...args],
      { stdio: 'ignore', detached: true });
    await until('Chromium', () => fetch(`http://127.0.0.1:${this.port}/json/version`).then((r) => r.ok, () => false), 60000);
  }

  async kill() {
    const gone = this.process.exitCode !== null || this.process.signalCode ? null : new Promise((r) => this.process.once('exit', r));
    spawnSync('kill', ['-KILL', '--', `-${this.process.pid}`]);
    await gone;
    for (const f of ['SingletonLock', 'SingletonSocket', 'SingletonCookie']) fs.rmSync(path.join(this.dir, 'profile', f), { force: true });
  }

  async stop() {
    await this.kill();
    fs.rmSync(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
