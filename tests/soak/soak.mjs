// The soak (tests/soak/run): every agent holds a number in its guest's memory and one on its disk, and must have both whenever it wakes.
import fs from 'node:fs';
import path from 'node:path';

import { Appliance, image, netNamespaces, processes, remains, sleep } from '../lib/appliance.mjs';

const ASLEEP = Number(process.env.BERTH_SOAK_ASLEEP ?? 200);
const RUNNING = Number(process.env.BERTH_SOAK_RUNNING ?? 10);
const MEMORY = Number(process.env.BERTH_SOAK_MEMORY ?? 768);
const MINUTES = Number(process.env.BERTH_SOAK_MINUTES);
const SEED = Number(process.env.BERTH_SOAK_SEED ?? Date.now() % 1e9);
const QUIET_MS = 3000; // before anything is counted
const GROWTH = { share: 0.1, mib: 4 }; // of a process's memory: the larger one of the two
const lost = []; // what should not be, a line each

let seed = SEED;
/** Park and Miller's generator: the same order for the same seed. */
const random = (n) => ((seed = (seed * 48271) % 2147483647) % n);
const number = () => `${random(1e9)}-${random(1e9)}`;

const a = Appliance.prepare();
const names = Array.from({ length: ASLEEP + RUNNING }, (_, i) => `s-${i}`);
const held = new Map(); // name: the number in its memory and on its disk
const times = [];

/** In the guest: what it holds ("boot" where it has booted since), then a new number instead. */
async function exchange(name) {
  const next = number();
  const r = await a.exec(name, 'sh', '-c', `cat /dev/shm/held || echo boot; cat Uploads/held; echo ${next} | tee /dev/shm/held >Uploads/held; sync Uploads/held`);
  const [memory, disk] = r.stdout.split('\n');
  if (r.status !== 0) lost.push(`${name}: ${r.stderr.trim()}`);
  else if (held.has(name) && (memory !== held.get(name) || disk !== held.get(name))) lost.push(`${name}: memory ${memory}, disk ${disk}, not ${held.get(name)}`);
  if (r.status === 0) held.set(name, next);
}

async function suspend(name) {
  const r = await a.tryCli('suspend', name);
  if (r.status !== 0) lost.push(`${name}: not suspended: ${r.stderr.trim()}`);
}

const files = (dir) => fs.readdirSync(dir, { withFileTypes: true }).reduce((n, e) => n + (e.isDirectory() ? files(path.join(dir, e.name)) : 1), 0);
const mib = (pid) => Number(/^Pss: +(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]) / 1024;
const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

/** What must be the same before and after: `exact` to the last one, `memory` (MiB) about. */
async function count() {
  await sleep(QUIET_MS);
  const { supervisor, berthd, gateway } = await a.pids();
  const all = processes();
  const of = (name) => all.filter((p) => p.name.startsWith(name));
  const states = (await a.json('ls')).agents.map((x) => x.state);
  return {
    exact: {
      'agents asleep': states.filter((s) => s === 'suspended').length,
      'agents running': states.filter((s) => s === 'running').length,
      processes: all.length - 1, // and the ls above may not have gone
      QEMUs: of('qemu-system').length,
      'berth-policies': of('berth-policy').length,
      'network namespaces pinned': fs.readdirSync(path.join(a.state, 'run/ns')).length,
      'network namespaces of processes': netNamespaces().size,
      "berthd's descriptors": descriptors(berthd),
      "berth-gateway's descriptors": descriptors(gateway),
      "the supervisor's descriptors": descriptors(supervisor),
      'files of agents': files(path.join(a.state, 'agents')),
      'files of snapshots and templates': ['snapshots', 'templates'].reduce((n, d) => n + files(path.join(a.state, d)), 0),
      'files at run time': files(path.join(a.state, 'run')),
    },
    memory: { 'berthd, MiB': mib(berthd), 'berth-gateway, MiB': mib(gateway), 'the supervisor, MiB': mib(supervisor) },
  };
}

function table(before, after) {
  const rows = [];
  for (const [what, was] of Object.entries(before.exact)) {
    const is = after.exact[what];
    rows.push([what, was, is, is === was ? 'same' : 'NOT THE SAME']);
    if (is !== was) lost.push(`${what}: ${was} before, ${is} after`);
  }
  for (const [what, was] of Object.entries(before.memory)) {
    const is = after.memory[what];
    const good = is - was <= Math.max(was * GROWTH.share, GROWTH.mib);
    rows.push([what, was.toFixed(1), is.toFixed(1), good ? 'no growth' : 'GROWN']);
    if (!good) lost.push(`${what}: ${was.toFixed(1)} before, ${is.toFixed(1)} after`);
  }
  for (const [what, was, is, verdict] of [['', 'before', 'after', ''], ...rows]) console.log(`  ${String(what).padEnd(36)}${String(was).padStart(9)}${String(is).padStart(9)}  ${verdict}`);
}

/** Everybody made, the last ones left running. */
async function populate() {
  for (const [i, name] of names.entries()) {
    await a.create(name, '--memory', String(MEMORY), '--disk', '2');
    await exchange(name);
    if (i < ASLEEP) await suspend(name);
    if ((i + 1) % 20 === 0) console.log(`  ${i + 1} of ${names.length} agents made`);
  }
}

/** One that sleeps is woken by a request, and who has run longest falls asleep. */
async function turn(asleep, running) {
  const [name] = asleep.splice(random(asleep.length), 1);
  const began = Date.now();
  await exchange(name);
  times.push(Date.now() - began);
  running.push(name);
  const tired = running.shift();
  await suspend(tired);
  asleep.push(tired);
}

const median = (list) => [...list].sort((x, y) => x - y)[list.length >> 1];

async function soak() {
  const asleep = names.slice(0, ASLEEP), running = names.slice(ASLEEP);
  for (let i = 0; i < Math.min(10, ASLEEP); i++) await turn(asleep, running); // whatever grows once has grown
  const before = await count();
  const end = Date.now() + MINUTES * 60000;
  while (Date.now() < end) await turn(asleep, running);
  const after = await count();
  for (const name of names) await exchange(name).then(() => (asleep.includes(name) ? suspend(name) : undefined));
  console.log(`\n${times.length} wakes of ${names.length} agents in ${MINUTES} minutes; from the request to its answer: median ${median(times)} ms, worst ${Math.max(...times)} ms\n`);
  table(before, after);
}

console.log(`soak: ${ASLEEP} agents asleep and ${RUNNING} running for ${MINUTES} minutes, image ${image()[1]}, BERTH_SOAK_SEED=${SEED}`);
try {
  await a.up();
  await populate();
  await soak();
} catch (e) {
  lost.push(e.stack);
} finally {
  if (lost.length) console.log(a.logs(60));
  await a.destroy().catch((e) => lost.push(e.message));
  lost.push(...remains(a.state));
}
console.log(lost.length ? `\nsoak: FAILED\n${lost.join('\n')}` : '\nsoak: nothing was lost, nothing has grown');
process.exit(lost.length ? 1 : 0);
