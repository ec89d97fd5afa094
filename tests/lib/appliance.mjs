// An appliance under test: a staged installation, a state folder of its own, the real programs.
// Runs inside tests/lib/world. BERTH_PREFIX is the installation, BERTH_TEST_IMAGES a folder with an image that trusts the test CA.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';

export const PREFIX = process.env.BERTH_PREFIX;
export const WORLD = process.env.WORLD_DIR;
const IMAGES = process.env.BERTH_TEST_IMAGES;
const KEEP = process.env.BERTH_TEST_KEEP === '1';

/** What time limits are multiplied by: sanitizers and busy machines are slower. */
export const SLOW = Number(process.env.BERTH_TEST_SLOW ?? (process.env.ASAN_OPTIONS ? 2 : 1));
export const sleep = (ms) => new Promise((ok) => setTimeout(ok, ms));

/** Waits until fn gives something true; that something. Fails after ms with what fn last threw. */
export async function until(what, ms, fn, every = 200) {
  const end = Date.now() + ms * SLOW;
  let last;
  for (;;) {
    try {
      const v = await fn();
      if (v) return v;
      last = undefined;
    } catch (e) {
      last = e;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${ms / 1000} s${last ? `: ${last.message}` : ''}`);
    await sleep(every);
  }
}

/** Runs a program to its end: {status, signal, stdout (Buffer), stderr}. */
export function run(program, args, { input, timeout = 120000, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    const out = [];
    const err = [];
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${path.basename(program)} ${args.join(' ')}: not done after ${timeout / 1000} s\n${Buffer.concat(err)}`));
    }, timeout * SLOW);
    child.stdout.on('data', (d) => out.push(d));
    child.stderr.on('data', (d) => err.push(d));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() });
    });
  });
}

/** What the test internet saw since the last reset: {hosts, connections, dns, datagrams, randoms}. */
export function internet(method = 'GET', what = '/stats') {
  return new Promise((resolve, reject) => {
    const req = http.request({ socketPath: path.join(WORLD, 'control.sock'), path: what, method }, (res) => {
      let text = '';
      res.on('data', (d) => (text += d));
      res.on('end', () => resolve(JSON.parse(text)));
    });
    req.on('error', reject);
    req.end();
  });
}
export const resetInternet = () => internet('POST', '/reset');

/** Processes of this pid namespace that are not zombies: [{pid, name, cmd, start}]. */
export function processes() {
  const all = [];
  for (const pid of fs.readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
      const rest = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (rest[0] === 'Z') continue;
      const cmd = fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
      all.push({ pid: Number(pid), ppid: Number(rest[1]), name: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')), cmd, start: rest[19] });
    } catch {
      // gone meanwhile
    }
  }
  return all;
}

/** [folder, id] of the image under test: what BERTH_TEST_IMAGE names, else the newest (older ones lie beside it). */
export function image() {
  const built = (id) => fs.statSync(path.join(IMAGES, id, 'manifest.json')).mtimeMs;
  const [id] = fs
    .readdirSync(IMAGES)
    .filter((n) => fs.existsSync(path.join(IMAGES, n, 'manifest.json')))
    .filter((n) => n === (process.env.BERTH_TEST_IMAGE ?? n))
    .sort((x, y) => built(y) - built(x));
  assert.ok(id, `${IMAGES} holds no image`);
  return [path.join(IMAGES, id), id];
}

// A warm template takes as long as a boot and a half: one test makes it, the others begin with a copy of it.
const TEMPLATES = path.join(IMAGES ?? os.tmpdir(), '.templates');

/** Copies (never links: a test may damage them) what `to` has not, whole or not at all. */
function copyTemplates(from, to) {
  for (const name of fs.existsSync(from) ? fs.readdirSync(from).filter((n) => !n.startsWith('.')) : []) {
    const target = path.join(to, name);
    if (fs.existsSync(target)) continue;
    fs.mkdirSync(to, { recursive: true });
    const part = path.join(to, `.new-${crypto.randomUUID()}-${name}`); // pids of two worlds are the same
    execFileSync('cp', ['-a', '--sparse=always', '--reflink=auto', path.join(from, name), part]);
    try {
      fs.renameSync(part, target);
    } catch {
      fs.rmSync(part, { recursive: true }); // another was quicker
    }
  }
}

let nextPort = 7900 + (process.pid % 50) * 20;

export class Appliance {
  constructor(state, port) {
    this.state = state;
    this.port = port;
    this.base = `http://127.0.0.1:${port}`;
    this.env = { BERTH_STATE: state };
    this.token = null;
  }

  /** A state folder with the image in it; nothing runs yet. */
  static prepare({ images = true, templates = true, state = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-e2e-')) } = {}) {
    assert.ok(PREFIX && fs.existsSync(`${PREFIX}/bin/berth`), 'BERTH_PREFIX must name an installation');
    fs.chmodSync(state, 0o711);
    if (images) {
      const [folder, id] = image();
      fs.mkdirSync(path.join(state, 'images'), { recursive: true });
      try {
        execFileSync('cp', ['-al', folder, path.join(state, 'images', id)], { stdio: 'pipe' });
      } catch {
        execFileSync('cp', ['-a', folder, path.join(state, 'images', `${id}.new`)]);
        fs.rmSync(path.join(state, 'images', id), { recursive: true, force: true });
        fs.renameSync(path.join(state, 'images', `${id}.new`), path.join(state, 'images', id));
      }
      if (templates) copyTemplates(TEMPLATES, path.join(state, 'templates'));
    }
    return new Appliance(state, nextPort++);
  }

  static async start(options) {
    const a = Appliance.prepare(options);
    await a.up();
    return a;
  }

  async up() {
    const r = await this.cli('up', '--listen', `127.0.0.1:${this.port}`, '--json');
    const answer = JSON.parse(r.stdout);
    if (answer.token) this.token = answer.token;
    return answer;
  }

  /** Runs `berth …` and gives its result; fails unless it exits with 0. */
  async cli(...args) {
    const r = await this.tryCli(...args);
    assert.equal(r.status, 0, `berth ${args.join(' ')}: exit status ${r.status} ${r.signal ?? ''}\n${r.stdout.toString().slice(0, 2000)}\n${r.stderr.slice(0, 4000)}`);
    return r;
  }

  /** Runs `berth …`, whatever its exit status. A last argument that is an object: {input, timeout, env}. */
  tryCli(...args) {
    const options = typeof args.at(-1) === 'object' && !Buffer.isBuffer(args.at(-1)) ? args.pop() : {};
    return run(`${PREFIX}/bin/berth`, args, { ...options, env: { ...this.env, ...options.env } });
  }

  async json(...args) {
    const options = typeof args.at(-1) === 'object' ? [args.pop()] : [];
    return JSON.parse((await this.cli('--json', ...args, ...options)).stdout);
  }

  async lines(...args) {
    return (await this.cli(...args)).stdout.toString().trimEnd().split('\n');
  }

  /** An API request at the network port: {status, type, body (JSON or text), headers}. */
  async api(method, where, body, { token = this.token, headers = {}, timeout = 120000 * SLOW } = {}) {
    const res = await fetch(this.base + where, {
      method,
      headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...(body !== undefined && !Buffer.isBuffer(body) ? { 'content-type': 'application/json' } : {}), ...headers },
      body: body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
    });
    const raw = Buffer.from(await res.arrayBuffer());
    const type = res.headers.get('content-type') ?? '';
    return { status: res.status, type, headers: res.headers, raw, body: /json/.test(type) ? JSON.parse(raw) : raw.toString() };
  }

  async create(name, ...options) {
    const made = await this.json('create', name, ...options, { timeout: 240000 }).catch((e) => {
      e.message += `\n${this.logs()}`;
      throw e;
    });
    copyTemplates(path.join(this.state, 'templates'), TEMPLATES);
    return made;
  }

  async show(name) {
    return this.json('show', name);
  }

  async cdp(name) {
    return (await this.cli('cdp', name)).stdout.toString().trim();
  }

  /** Runs a command in an agent through the CLI: {status, stdout (string), stderr}. */
  async exec(name, ...cmd) {
    const r = await this.tryCli('exec', name, '--', ...cmd);
    return { ...r, stdout: r.stdout.toString() };
  }

  /** curl inside an agent: the HTTP status, or "no: exit status". */
  async curl(name, ...args) {
    const r = await this.exec(name, 'curl', '-sS', '-k', '-m', '40', '-o', '/dev/null', '-w', '%{http_code}', ...args);
    return r.status === 0 ? Number(r.stdout) : `no: ${r.status}`;
  }

  /** What `berth doctor` says of files and processes that belong to nobody. */
  async leftovers() {
    const { checks } = JSON.parse((await this.tryCli('--json', 'doctor', { timeout: 120000 * SLOW })).stdout);
    const { what, detail } = checks.find((c) => c.name === 'leftovers');
    return detail ? `${what}: ${detail}` : what;
  }

  pid(file) {
    return Number(fs.readFileSync(path.join(this.state, 'run', file), 'utf8').split(' ')[0]);
  }

  /** Live pids by part. agent: an agent object for the parts of one agent. */
  async pids(agent) {
    const status = await this.json('status');
    const pids = { supervisor: status.supervisor_pid, berthd: status.pid, gateway: status.gateway_pid };
    if (agent) {
      pids.qemu = this.pid(`agents/${agent.id}/qemu.pid`);
      pids.policy = this.pid(`agents/${agent.id}/policy.pid`);
    }
    return pids;
  }

  logs(lines = 40) {
    let text = '';
    for (const name of ['berthd.log', 'gateway.log']) {
      const file = path.join(this.state, 'log', name);
      if (fs.existsSync(file)) text += `--- ${name}\n${fs.readFileSync(file, 'utf8').split('\n').slice(-lines).join('\n')}\n`;
    }
    return text;
  }

  async down() {
    return this.cli('down', { timeout: 180000 });
  }

  /** Ends everything and removes the state folder; for after(). */
  async destroy() {
    const r = await this.tryCli('down', { timeout: 180000 }).catch((e) => ({ status: -1, stderr: e.message }));
    if (r.status !== 0) console.error(`berth down: ${r.stderr}`);
    if (process.env.BERTH_TEST_LOGS === '1') console.error(this.logs(200));
    if (!KEEP) execFileSync('rm', ['-rf', this.state]);
    assert.equal(r.status, 0, `berth down failed: ${r.stderr}`);
  }
}

/** What is left once nothing goes away any more: what `look` finds, looked at for up to 20 s as long as it finds something. */
export async function lastly(look) {
  await until('nothing is left', 20000, () => look().length === 0).catch(() => {});
  return look();
}

/** What an appliance must not leave behind: taps, mounts, processes of its own. */
export function remains(state) {
  const left = [];
  for (const p of processes()) {
    if (p.cmd[0]?.startsWith(PREFIX) || p.cmd.some((c) => c.includes(state)) || /^(qemu-system|berth)/.test(p.name)) left.push(`process ${p.pid} ${p.cmd.join(' ').slice(0, 120)}`);
  }
  for (const line of fs.readFileSync('/proc/mounts', 'utf8').split('\n')) if (line.includes(state)) left.push(`mount ${line}`);
  for (const line of fs.readFileSync('/proc/net/dev', 'utf8').split('\n').slice(2)) {
    const name = line.split(':')[0].trim();
    if (name && !['lo', 'uplink'].includes(name)) left.push(`device ${name}`);
  }
  return left;
}

/** Every file that has an agent's id in its name, wherever berth could have left one, and every process that holds one of its namespaces. */
export function traces(state, id, namespace) {
  const places = [state, os.tmpdir(), '/run', '/dev/shm', '/var/tmp', '/sys/fs/cgroup'].filter((p) => fs.existsSync(p));
  const out = execFileSync('sh', ['-c', 'find "$@" -name "*$id*" 2>/dev/null || :', 'sh', ...places], { encoding: 'utf8', env: { ...process.env, id } });
  const left = [...new Set(out.split('\n').filter(Boolean))];
  for (const { pid, cmd } of processes()) {
    const inside = (what) => {
      try {
        return fs.readFileSync(`/proc/${pid}/${what}`, 'utf8');
      } catch {
        return ''; // gone meanwhile
      }
    };
    if (cmd.some((c) => c.includes(id))) left.push(`process ${pid} ${cmd.join(' ').slice(0, 120)}`);
    if (inside('mountinfo').includes(id) || inside('mountinfo').includes(namespace)) left.push(`mount in process ${pid}`);
    for (const what of ['ns/net', ...descriptors(pid)]) {
      try {
        if (fs.readlinkSync(`/proc/${pid}/${what}`) === namespace) left.push(`${namespace} is ${what} of process ${pid} ${cmd[0]}`);
      } catch {
        // gone meanwhile
      }
    }
  }
  return left;
}

function descriptors(pid) {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).map((n) => `fd/${n}`);
  } catch {
    return [];
  }
}

/** The folders of a running appliance in the cgroup hierarchies. */
export function cgroups(state) {
  const lines = fs.readFileSync(path.join(state, 'run/cgroups'), 'utf8').trim().split('\n');
  return lines.map((l) => /\/.*/.exec(l)[0]);
}

/** Takes the namespaces that only exist as long as somebody holds them: the net namespaces of all live processes. */
export function netNamespaces() {
  const seen = new Set();
  for (const p of processes()) {
    try {
      seen.add(fs.readlinkSync(`/proc/${p.pid}/ns/net`));
    } catch {
      // gone meanwhile
    }
  }
  return seen;
}
