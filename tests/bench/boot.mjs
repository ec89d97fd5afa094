// From `start` of a stopped agent, which boots, to the first CDP answer, split into steps, and what stock programs take for their part of it in the same run.
// BERTH_PREFIX: an installation; BERTH_TEST_IMAGES: where images are; BERTH_BENCH_BOOTS: how many agents are booted, one after the other.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';

const prefix = path.resolve(process.env.BERTH_PREFIX), berth = path.join(prefix, 'bin/berth');
const images = path.resolve(process.env.BERTH_TEST_IMAGES ?? 'build/images');
const boots = Number(process.env.BERTH_BENCH_BOOTS ?? 3);
const GOAL_KERNEL = 1.5; // our QEMU's exec to PID 1, over stock QEMU's
const GOAL_SHARE = 0.25; // of the whole, what is neither the kernel's, nor the browser's, nor QEMU's own
const LIMIT_MS = 240000;
// Agents run in cgroups of their own, stock QEMU does not: on a busy machine they get different shares of it.
const load = os.loadavg()[0], busy = load > os.cpus().length / 2;

const skip = (why) => { console.log(`boot: skipped, ${why}`); process.exit(0); };
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

const found = fs.existsSync(images) ? fs.readdirSync(images).filter((n) => fs.existsSync(path.join(images, n, 'manifest.json'))) : [];
if (!found.length) skip(`there is no guest image in ${images} (berth image build, or BERTH_TEST_IMAGES)`);
const age = (id) => fs.statSync(path.join(images, id, 'manifest.json')).mtimeMs;
const image = found.sort((a, b) => age(b) - age(a))[0];

const state = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-bench-'));
const env = { ...process.env, BERTH_STATE: state };
delete env.BERTH_URL;
const run = (...args) => spawnSync(berth, args, { env, encoding: 'utf8' });

// A request to the appliance on its own socket: the body, parsed.
const ask = (method, where, body) => new Promise((resolve, reject) => {
  const req = http.request({ socketPath: path.join(state, 'run/api/api.sock'), path: where, method, headers: body ? { 'content-type': 'application/json' } : {} }, (res) => {
    let text = '';
    res.on('data', (d) => (text += d));
    res.on('end', () => (res.statusCode < 300 ? resolve(text ? JSON.parse(text) : null) : reject(new Error(`${method} ${where}: ${res.statusCode} ${text}`))));
  });
  req.setTimeout(LIMIT_MS, () => req.destroy(new Error(`${method} ${where}: no answer in time`)));
  req.on('error', reject);
  req.end(body && JSON.stringify(body));
});

let qemu; // the command line of the first boot's QEMU

// One cold boot: ms of each step. Times of events are the host's; kernel_ms and init_ms the guest's own.
async function boot(name) {
  await ask('POST', '/v1/agents', { name });
  await ask('POST', `/v1/agents/${name}/stop`);
  const begin = Date.now();
  const agent = await ask('POST', `/v1/agents/${name}/start`);
  await ask('GET', `/v1/agents/${name}/json/version`);
  const end = Date.now();
  qemu ??= fs.readFileSync(`/proc/${agent.pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  const list = (await ask('GET', `/v1/agents/${name}/events?follow=0`)).events.filter((e) => Date.parse(e.time) >= begin);
  const event = (type) => list.find((e) => e.type === type);
  const at = (type) => Date.parse(event(type).time);
  const { kernel_ms: kernel, init_ms: init } = event('agent.running').data, chromium = event('browser.up').data.start_ms;
  await ask('DELETE', `/v1/agents/${name}`);
  return {
    record: at('agent.starting') - begin,
    prepare: at('agent.booting') - at('agent.starting'),
    qemu: at('agent.running') - at('agent.booting') - kernel - init,
    kernel, init,
    launch: at('browser.up') - at('agent.running') - chromium,
    chromium,
    answer: end - at('browser.up'),
    total: end - begin,
  };
}

// Stock QEMU with the same kernel, initramfs, processor and memory, to the point where PID 1 would be run: there is none, so the
// kernel panics and QEMU ends.
function stock() {
  const value = (option) => qemu[qemu.indexOf(option) + 1];
  const dir = path.join(images, image), accel = value('-accel').startsWith('kvm') ? 'kvm' : value('-accel');
  const begin = process.hrtime.bigint();
  const r = spawnSync(qemu[0], ['-M', value('-M').replace(',memory-backend=mem', ''), '-accel', accel, '-cpu', value('-cpu'), '-m', value('-m'), '-smp', value('-smp'), '-nodefaults', '-no-user-config', '-nographic', '-no-reboot',
    '-serial', 'stdio', '-kernel', `${dir}/vmlinuz`, '-initrd', `${dir}/initrd.img`, '-append', `${value('-append')} rdinit=/nonexistent`], { encoding: 'latin1', timeout: 120000 });
  if (!/Kernel panic/.test(r.stdout)) throw new Error(`stock QEMU did not boot: ${r.stdout.slice(-300)} ${r.stderr.slice(-300)}`);
  return Number(process.hrtime.bigint() - begin) / 1e6;
}

// The host's own browser, from its start to its first answer; null where there is none.
async function native() {
  const program = ['chromium-headless-shell', 'chromium'].map((n) => spawnSync('sh', ['-c', `command -v ${n}`], { encoding: 'utf8' }).stdout.trim()).find(Boolean);
  if (!program) return null;
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-bench-chromium-'));
  const begin = Date.now();
  const child = spawn(program, ['--headless', '--no-first-run', '--remote-debugging-port=0', `--user-data-dir=${profile}`, ...(process.getuid() === 0 ? ['--no-sandbox'] : []), 'about:blank'], { stdio: 'ignore', detached: true });
  try {
    for (;;) {
      if (child.exitCode !== null || Date.now() - begin > 60000) return null;
      try {
        const port = fs.readFileSync(path.join(profile, 'DevToolsActivePort'), 'utf8').split('\n')[0];
        await fetch(`http://127.0.0.1:${port}/json/version`);
        return { name: path.basename(program), ms: Date.now() - begin };
      } catch {
        await sleep(5);
      }
    }
  } finally {
    try { process.kill(-child.pid, 'SIGKILL'); } catch { /* it has ended */ }
    if (child.exitCode === null && child.signalCode === null) await new Promise((r) => child.once('exit', r));
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const got = [], base = [], own = [];
let accel, up = false;
try {
  fs.chmodSync(state, 0o711);
  fs.mkdirSync(path.join(state, 'images'));
  if (spawnSync('cp', ['-al', path.join(images, image), path.join(state, 'images', image)]).status !== 0)
    spawnSync('cp', ['-a', path.join(images, image), path.join(state, 'images', image)]);
  const r = run('up', '--listen', '127.0.0.1:0');
  up = r.status === 0;
  if (up) {
    accel = (await ask('GET', '/v1/status')).accel;
    await boot('warm-up'); // the image is read and verified, everything is in the page cache
    for (let i = 0; i < boots; i++) {
      got.push(await boot(`boot-${i}`));
      base.push(stock());
      own.push(await native());
    }
  } else {
    console.log(`boot: skipped, no appliance can run here: ${r.stderr.trim().split('\n').pop()}`);
  }
} finally {
  run('down');
  fs.rmSync(state, { recursive: true, force: true });
}
if (!up) process.exit(0);

const m = Object.fromEntries(Object.keys(got[0]).map((k) => [k, median(got.map((g) => g[k]))]));
const stockMs = median(base), browser = own.every(Boolean) ? { name: own[0].name, ms: median(own.map((o) => o.ms)) } : null;
const toInit = m.qemu + m.kernel, ours = m.record + m.prepare + m.init + m.launch + m.answer;
const failures = [];
const judge = (ok, what) => { if (busy) return 'not judged'; if (!ok) failures.push(what); return ok ? 'met' : 'MISSED'; };
const ms = (n) => `${Math.round(n)} ms`;
const table = [
  [`cold boot, ${accel}, median of ${boots}`, 'berth', 'baseline', 'ratio', 'goal'],
  ['start: the record', ms(m.record), '', '', ''],
  ['disk, namespace, policy in force', ms(m.prepare), '', '', ''],
  ['QEMU until the kernel runs', ms(m.qemu), '', '', ''],
  ['kernel to PID 1', ms(m.kernel), '', '', ''],
  ['= QEMU to PID 1', ms(toInit), `${ms(stockMs)} (stock QEMU)`, (toInit / stockMs).toFixed(2), `at most ${GOAL_KERNEL}: ${judge(toInit <= GOAL_KERNEL * stockMs, 'QEMU to PID 1')}`],
  ['PID 1: mounts, network, channel', ms(m.init), '', '', ''],
  ['the browser is asked for, launched', ms(m.launch), '', '', ''],
  ['Chromium to its first answer', ms(m.chromium), browser ? `${ms(browser.ms)} (${browser.name}, no VM)` : '- (no Chromium on this host)', browser ? (m.chromium / browser.ms).toFixed(2) : '', ''],
  ['first /json/version at the gateway', ms(m.answer), '', '', ''],
  ['start to the first CDP answer', ms(m.total), '', '', ''],
  ['of that, berth\'s own share', ms(ours), '', (ours / m.total).toFixed(2), `at most ${GOAL_SHARE}: ${judge(ours <= GOAL_SHARE * m.total, 'own share')}`],
];
const widths = table[0].map((_, i) => Math.max(...table.map((r) => r[i].length)));
for (const r of table) console.log(r.map((v, i) => (i ? v.padStart(widths[i]) : v.padEnd(widths[i]))).join('  ').trimEnd());
if (busy) console.log(`not judged: the machine was busy before the run (load ${load.toFixed(1)} on ${os.cpus().length} processors)`);
if (failures.length) { console.error(`missed: ${failures.join(', ')}`); process.exit(1); }
