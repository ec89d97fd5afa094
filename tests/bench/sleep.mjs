// What sleep costs: forks against cold boots, suspend, resume and snapshots against QEMU's own savevm and loadvm, memory against
// browsers that run on the host.
// BERTH_PREFIX: an installation; BERTH_TEST_IMAGES: where images are; BERTH_BENCH_ROUNDS: of each time the median of so many (5);
// BERTH_BENCH_FORKS: forks, and native browsers, at once (20, or what the memory is enough for).
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const prefix = path.resolve(process.env.BERTH_PREFIX), berth = path.join(prefix, 'bin/berth');
const images = path.resolve(process.env.BERTH_TEST_IMAGES ?? 'build/images');
const rounds = Number(process.env.BERTH_BENCH_ROUNDS ?? 5);
const CHAIN = 30;
const GOAL = { fork: 1 / 15, save: 1 / 4, bytes: 1.05, memory: 1 / 2, chain: 1.2 };
const LIMIT_MS = 240000, IDLE_MS = 5000;
const NATIVE_MIB = 450; // what a browser of the host is expected to take
const load = os.loadavg()[0], busy = load > os.cpus().length / 2;

const skip = (why) => { console.log(`sleep: skipped, ${why}`); process.exit(0); };
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const sum = (list) => list.reduce((a, b) => a + b, 0);
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
async function timed(fn) {
  const begin = process.hrtime.bigint();
  await fn();
  return Number(process.hrtime.bigint() - begin) / 1e6;
}

const found = fs.existsSync(images) ? fs.readdirSync(images).filter((n) => fs.existsSync(path.join(images, n, 'manifest.json'))) : [];
if (!found.length) skip(`there is no guest image in ${images} (berth image build, or BERTH_TEST_IMAGES)`);
const age = (id) => fs.statSync(path.join(images, id, 'manifest.json')).mtimeMs;
const image = found.sort((a, b) => age(b) - age(a))[0];
const available = Number(/MemAvailable: +(\d+)/.exec(fs.readFileSync('/proc/meminfo', 'utf8'))[1]) / 1024;
const forks = Math.max(1, Math.min(Number(process.env.BERTH_BENCH_FORKS ?? 20), Math.floor((available - 2048) / NATIVE_MIB)));

const state = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-bench-'));
const env = { ...process.env, BERTH_STATE: state };
delete env.BERTH_URL;
const run = (...args) => spawnSync(berth, args, { env, encoding: 'utf8' });

// A request: its body, parsed. `where` names a socket, or a port of this machine.
const request = (where, method, url, body) => new Promise((resolve, reject) => {
  const req = http.request({ ...where, path: url, method, agent: false, headers: { host: 'localhost', ...(body ? { 'content-type': 'application/json' } : {}) } }, (res) => {
    let text = '';
    res.on('data', (d) => (text += d));
    res.on('end', () => (res.statusCode < 300 ? resolve(text ? JSON.parse(text) : null) : reject(new Error(`${method} ${url}: ${res.statusCode} ${text}`))));
  });
  req.setTimeout(LIMIT_MS, () => req.destroy(new Error(`${method} ${url}: no answer in time`)));
  req.on('error', reject);
  req.end(body && JSON.stringify(body));
});
const ask = (...args) => request({ socketPath: path.join(state, 'run/api/api.sock') }, ...args);
const answer = (name) => ask('GET', `/v1/agents/${name}/json/version`);
const create = (name) => timed(async () => { await ask('POST', '/v1/agents', { name }); await answer(name); });
const remove = (name) => ask('DELETE', `/v1/agents/${name}`);

// Of processes, in KiB: what is theirs alone, and their share of everything.
function memory(pids) {
  const all = pids.map((pid) => { try { return fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'); } catch { return ''; } });
  const field = (text, name) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return { own: sum(all.map((t) => field(t, 'Private_Clean') + field(t, 'Private_Dirty'))), pss: sum(all.map((t) => field(t, 'Pss'))) };
}

// KiB of code that QEMU has translated for the guest: under KVM there is none.
function translated(pid) {
  let size = 0, code = false;
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) code = / rwxp /.test(line);
    else if (code && line.startsWith('Private_Dirty:')) size += Number(/\d+/.exec(line)[0]);
  }
  return size;
}

// An agent's processes on the host: its machine and its network policy.
const processes = (agent) => [agent.pid, Number(fs.readFileSync(path.join(state, 'run/agents', agent.id, 'policy.pid'), 'utf8').split(' ')[0])];

async function forkTimes() {
  const times = [];
  for (let i = 0; i < rounds; i++) { times.push(await create(`fork-${i}`)); await remove(`fork-${i}`); }
  return times;
}

// One that is stopped has no memory to wake from: it boots.
async function bootTimes() {
  const times = [];
  await create('boots');
  for (let i = 0; i < Math.min(rounds, 3); i++) {
    await ask('POST', '/v1/agents/boots/stop');
    times.push(await timed(async () => { await ask('POST', '/v1/agents/boots/start'); await answer('boots'); }));
  }
  await remove('boots');
  return times;
}

const resume = (name) => timed(async () => { await ask('POST', `/v1/agents/${name}/resume`); await answer(name); });

// {suspend, resume, pause} in ms, and {bytes, dirty} of the last suspend.
async function sleepTimes() {
  const got = { suspend: [], resume: [], pause: [] };
  const agent = await ask('POST', '/v1/agents', { name: 'sleeper' });
  for (let i = 0; i < rounds; i++) {
    await sleep(1000);
    got.pause.push((await ask('POST', '/v1/agents/sleeper/snapshots', {})).pause_ms);
    got.suspend.push(await timed(() => ask('POST', '/v1/agents/sleeper/suspend')));
    const dir = path.join(state, 'agents', agent.id), folder = path.join(dir, fs.readdirSync(dir).find((n) => /^sleep\.d_[a-z0-9]+$/.test(n)));
    got.dirty = JSON.parse(fs.readFileSync(path.join(folder, 'manifest.json'))).memory.page_count * 4096;
    got.bytes = sum(['pages', 'device'].map((n) => fs.statSync(path.join(folder, n)).size));
    got.resume.push(await resume('sleeper'));
  }
  await remove('sleeper');
  return { suspend: median(got.suspend), resume: median(got.resume), pause: median(got.pause), bytes: got.bytes, dirty: got.dirty };
}

async function chainTimes() {
  const times = [];
  await create('chain');
  for (let i = 1; i <= CHAIN; i++) {
    await ask('POST', '/v1/agents/chain/snapshots', {});
    await ask('POST', '/v1/agents/chain/suspend');
    times.push(await resume('chain'));
  }
  await remove('chain');
  return times;
}

async function forkMemory() {
  const agents = [];
  for (let i = 0; i < forks; i++) agents.push(await ask('POST', '/v1/agents', { name: `many-${i}` }));
  for (const a of agents) await answer(a.name);
  await sleep(IDLE_MS);
  const each = agents.map((a) => memory(processes(a))), code = median(agents.map((a) => translated(a.pid)));
  for (const a of agents) await remove(a.name);
  return { own: median(each.map((m) => m.own)), pss: sum(each.map((m) => m.pss)), code };
}

function tree(root) {
  const parent = new Map();
  for (const pid of fs.readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try { const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1'); parent.set(Number(pid), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])); } catch { /* it has ended */ }
  }
  const below = [root];
  for (let i = 0; i < below.length; i++) for (const [pid, above] of parent) if (above === below[i]) below.push(pid);
  return below;
}

// The host's own browsers, each with a profile: the sum of their PSS in KiB, or null.
async function nativeMemory() {
  const program = ['chromium-headless-shell', 'chromium'].map((n) => spawnSync('sh', ['-c', `command -v ${n}`], { encoding: 'utf8' }).stdout.trim()).find(Boolean);
  if (!program) return null;
  const all = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-bench-chromium-')), children = [];
  try {
    for (let i = 0; i < forks; i++) {
      const profile = path.join(all, String(i));
      children.push(spawn(program, ['--headless', '--no-first-run', '--remote-debugging-port=0', `--user-data-dir=${profile}`, ...(process.getuid() === 0 ? ['--no-sandbox'] : []), 'about:blank'], { stdio: 'ignore', detached: true }));
      for (const end = Date.now() + 60000; !fs.existsSync(path.join(profile, 'DevToolsActivePort')); await sleep(50)) if (Date.now() > end) return null;
    }
    await sleep(IDLE_MS);
    return { name: path.basename(program), pss: sum(children.map((c) => memory(tree(c.pid)).pss)) };
  } finally {
    for (const c of children) try { process.kill(-c.pid, 'SIGKILL'); } catch { /* it has ended */ }
    await Promise.all(children.map((c) => c.exitCode !== null || c.signalCode !== null || new Promise((r) => c.once('exit', r))));
    await sleep(200);
    fs.rmSync(all, { recursive: true, force: true, maxRetries: 5 });
  }
}

// Commands to a QEMU, one after the other.
function monitor(socketPath) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(socketPath);
    const waiting = [];
    let text = '';
    socket.on('error', reject);
    socket.on('data', (d) => {
      const lines = (text += d).split('\n');
      text = lines.pop();
      for (const m of lines.filter((l) => l.trim()).map((l) => JSON.parse(l))) {
        if (m.return !== undefined) waiting.shift().resolve(m.return);
        else if (m.error) waiting.shift().reject(new Error(m.error.desc));
      }
    });
    const command = (execute, args) => new Promise((ok, no) => { waiting.push({ resolve: ok, reject: no }); socket.write(`${JSON.stringify({ execute, arguments: args })}\n`); });
    const hmp = async (line) => { const said = await command('human-monitor-command', { 'command-line': line }); if (said.trim()) throw new Error(`${line}: ${said}`); };
    command('qmp_capabilities').then(() => resolve({ command, hmp, close: () => socket.destroy() }), reject);
  });
}

// What berthd says to a guest first (appliance/base/guest.h): a greeting, then who it is, and to start its browser.
function configure(port) {
  const config = Buffer.alloc(176), header = Buffer.alloc(8);
  config.writeBigInt64LE(BigInt(Date.now()) * 1000000n, 0);
  crypto.randomFillSync(config, 8, 80);
  config.write('stock', 88, 'latin1');
  [1, 1280, 800].forEach((n, i) => config.writeUInt32LE(n, 152 + 4 * i));
  header.writeUInt32LE(config.length, 0);
  header.writeUInt8(1, 4);
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(Buffer.concat([Buffer.from('BRTH\x01\x01\0\0', 'latin1'), header, config])));
    socket.once('data', () => resolve(socket));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed')));
  });
}

async function until(fn) {
  for (const end = Date.now() + 120000; ; await sleep(200)) {
    try { return await Promise.race([fn(), sleep(5000).then(() => { throw new Error('no answer'); })]); } catch (e) { if (Date.now() > end) throw e; }
  }
}

const freePort = () => new Promise((r) => { const s = net.createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => r(port)); }); });

// The same guest in a QEMU as it comes, with a browser up: ms of stop and savevm, and of loadvm and cont to the first CDP answer.
async function stock(cmdline) {
  const value = (option) => cmdline[cmdline.indexOf(option) + 1];
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-bench-qemu-')), folder = path.join(images, image);
  const control = await freePort(), cdp = await freePort();
  const disk = path.join(dir, 'disk.qcow2'), qmp = path.join(dir, 'qmp');
  if (spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '8G']).status !== 0) throw new Error('qemu-img failed');
  const accel = value('-accel').startsWith('kvm') ? 'kvm' : value('-accel');
  const child = spawn(cmdline[0], ['-M', value('-M').replace(',memory-backend=mem', ''), '-accel', accel, '-cpu', value('-cpu'), '-m', value('-m'), '-smp', value('-smp'), '-nodefaults', '-no-user-config', '-nographic',
    '-chardev', 'ringbuf,id=console,size=65536', '-serial', 'chardev:console', '-qmp', `unix:${qmp},server=on,wait=off`, '-kernel', `${folder}/vmlinuz`, '-initrd', `${folder}/initrd.img`, '-append', value('-append'),
    '-blockdev', `qcow2,node-name=disk,file.driver=file,file.filename=${disk}`, '-blockdev', `raw,node-name=rootfs,read-only=on,file.driver=file,file.filename=${folder}/rootfs.erofs,file.read-only=on`,
    '-device', 'virtio-blk-device,drive=disk', '-device', 'virtio-blk-device,drive=rootfs',
    '-netdev', `user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${control}-10.0.2.15:700,hostfwd=tcp:127.0.0.1:${cdp}-10.0.2.15:701`, '-device', 'virtio-net-device,netdev=net,mac=52:54:00:be:00:15'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (d) => (said += d));
  const first = () => request({ host: '127.0.0.1', port: cdp }, 'GET', '/json/version');
  const got = { save: [], load: [] };
  let link, m;
  try {
    link = await until(() => configure(control));
    link.on('error', () => {});
    link.resume();
    await until(first);
    await sleep(IDLE_MS);
    m = await monitor(qmp);
    for (let i = 0; i < Math.min(rounds, 3); i++) {
      got.save.push(await timed(async () => { await m.command('stop'); await m.hmp('savevm here'); }));
      got.load.push(await timed(async () => { await m.hmp('loadvm here'); await m.command('cont'); await first(); }));
      await m.hmp('delvm here');
      await sleep(1000);
    }
    return { save: median(got.save), load: median(got.load) };
  } catch (e) {
    throw new Error(`stock QEMU: ${e.message} ${said.slice(-500)}`, { cause: e });
  } finally {
    link?.destroy();
    m?.close();
    child.kill('SIGKILL');
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

let r = null, accel;
try {
  fs.chmodSync(state, 0o711);
  fs.mkdirSync(path.join(state, 'images'));
  if (spawnSync('cp', ['-al', path.join(images, image), path.join(state, 'images', image)]).status !== 0)
    spawnSync('cp', ['-a', path.join(images, image), path.join(state, 'images', image)]);
  const up = run('up', '--listen', '127.0.0.1:0');
  if (up.status === 0) {
    accel = (await ask('GET', '/v1/status')).accel;
    await create('first'); // makes the template
    const agent = await ask('GET', '/v1/agents/first');
    const cmdline = fs.readFileSync(`/proc/${agent.pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    await remove('first');
    const step = async (what, fn) => { console.error(`# ${what}`); return fn(); };
    r = {
      fork: median(await step('forks', forkTimes)),
      boot: median(await step('cold boots', bootTimes)),
      sleep: await step('suspend, resume, snapshots', sleepTimes),
      stock: await step('savevm and loadvm of a stock QEMU', () => stock(cmdline)),
      chain: await step(`a chain of ${CHAIN} snapshots`, chainTimes),
      many: await step(`${forks} forks at once`, forkMemory),
      native: await step(`${forks} browsers of the host`, nativeMemory),
    };
  } else {
    console.log(`sleep: skipped, no appliance can run here: ${up.stderr.trim().split('\n').pop()}`);
  }
} finally {
  run('down');
  fs.rmSync(state, { recursive: true, force: true });
}
if (!r) process.exit(0);

const failures = [];
const judge = (ok, what) => { if (busy) return 'not judged'; if (!ok) failures.push(what); return ok ? 'met' : 'MISSED'; };
const goal = (ratio, most, what) => `at most ${most.toFixed(2)}: ${judge(ratio <= most, what)}`;
const ms = (n) => `${n < 10 ? n.toFixed(1) : Math.round(n)} ms`, mib = (kib) => `${(kib / 1024).toFixed(kib < 10240 ? 2 : 0)} MiB`;
const ours = r.sleep.suspend + r.sleep.resume + r.sleep.pause, theirs = r.stock.save + r.stock.load;
// Single times scatter: the first and the last three of the chain.
const head = median(r.chain.slice(0, 3)), tail = median(r.chain.slice(-3));
const table = [
  [`sleep, ${accel}, medians of ${rounds}`, 'berth', 'baseline', 'ratio', 'goal'],
  ['create from a template, to the first CDP answer', ms(r.fork), `${ms(r.boot)} (cold boot)`, (r.fork / r.boot).toFixed(3), goal(r.fork / r.boot, GOAL.fork, 'fork')],
  ['suspend', ms(r.sleep.suspend), `${ms(r.stock.save)} (stop, savevm)`, (r.sleep.suspend / r.stock.save).toFixed(2), ''],
  ['resume, to the first CDP answer', ms(r.sleep.resume), `${ms(r.stock.load)} (loadvm, cont)`, (r.sleep.resume / r.stock.load).toFixed(2), ''],
  ['a snapshot\'s pause', ms(r.sleep.pause), '', '', ''],
  ['= all three', ms(ours), ms(theirs), (ours / theirs).toFixed(2), goal(ours / theirs, GOAL.save, 'suspend, resume, snapshot')],
  ['stored per suspended agent', mib(r.sleep.bytes / 1024), `${mib(r.sleep.dirty / 1024)} (dirty pages)`, (r.sleep.bytes / r.sleep.dirty).toFixed(2), goal(r.sleep.bytes / r.sleep.dirty, GOAL.bytes, 'bytes stored')],
  [`resume, the last three of ${CHAIN} snapshots`, ms(tail), `${ms(head)} (the first three)`, (tail / head).toFixed(2), goal(tail / head, GOAL.chain, 'chain')],
  ['private memory of an idle fork', mib(r.many.own), '', '', ''],
  ['of that, translated code', mib(r.many.code), '', '', ''],
  r.native
    ? [`PSS of ${forks} idle forks`, mib(r.many.pss), `${mib(r.native.pss)} (${forks} x ${r.native.name}, no VM)`, (r.many.pss / r.native.pss).toFixed(2), goal(r.many.pss / r.native.pss, GOAL.memory, 'memory')]
    : [`PSS of ${forks} idle forks`, mib(r.many.pss), '- (no Chromium on this host)', '', ''],
];
const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
for (const row of table) console.log(row.map((v, i) => (i ? v.padStart(widths[i]) : v.padEnd(widths[i]))).join('  ').trimEnd());
if (busy) console.log(`not judged: the machine was busy before the run (load ${load.toFixed(1)} on ${os.cpus().length} processors)`);
if (failures.length) { console.error(`missed: ${failures.join(', ')}`); process.exit(1); }
