// kill -9 of berthd and of QEMU at the steps of what is done with an agent's memory and disk, a step being a name that comes,
// goes or changes in the state folder: afterwards the agent is at its old or its new state, and nothing is left over.
// BERTH_CHECK_LONG=1: at each step of each deed; else at one step of some (tests/unit/appliance cuts at each, with stand-ins).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Appliance, SLOW, processes, until } from '../lib/appliance.mjs';

const LONG = process.env.BERTH_CHECK_LONG === '1';
const STEP = 3; // the one step, where not all are tried
let a;
let one;
let n = 0; // the moment that the guest is at: written to its memory and its disk
let memory; // whether the moment is still in its memory, or it has booted since

before(
  async () => {
    a = await Appliance.start();
    one = await a.create('one', '--memory', '512', '--disk', '2');
    await live();
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 240000 * SLOW });

/** The guest goes on to the next moment. */
async function live(name = 'one') {
  n++;
  const r = await a.exec(name, 'sh', '-c', `echo ${n} >/dev/shm/moment; echo ${n} >moment; sync`);
  assert.equal(r.status, 0, r.stderr);
  memory = true;
}

/** [memory, disk]: the moments that a guest knows; 0 for the memory of one that has booted. A sleeper is woken. */
async function moment(name) {
  const r = await a.exec(name, 'sh', '-c', 'cat /dev/shm/moment 2>/dev/null || echo 0; cat moment');
  assert.equal(r.status, 0, r.stderr);
  return r.stdout.trim().split('\n').map(Number);
}

const SETTLED = ['running', 'suspended', 'stopped', 'failed'];
async function settle() {
  return until('everything rests', 90000, async () => {
    const { agents } = await a.json('ls');
    return agents.every((x) => SETTLED.includes(x.state) && (x.state !== 'running' || x.browser === 'up') && (x.state !== 'running' || !x.state_detail)) && agents;
  });
}

/** Runs `berth …` and calls at(k) at its k-th step. */
async function watched(args, at) {
  let k = 0;
  const watchers = ['agents', `agents/${one.id}`, 'snapshots', 'templates'].map((f) =>
    fs.watch(path.join(a.state, f), (type) => {
      if (type === 'rename') at(++k);
    }),
  );
  try {
    await a.tryCli(...args, { timeout: 120000 * SLOW });
  } finally {
    for (const w of watchers) w.close();
  }
}

const alive = (pid) => processes().some((p) => p.pid === pid);

/** Kills the victim at the k-th step of the deed; false when there are fewer. */
async function killedAt(args, victim, k) {
  const pid = (await a.pids(victim === 'qemu' ? one : null))[victim];
  let hit = false;
  await watched(args, (step) => {
    if (step !== k) return;
    hit = true;
    if (alive(pid)) process.kill(pid, 'SIGKILL');
  });
  if (victim === 'berthd' && hit) await until('berthd is back', 60000, async () => (await a.pids()).berthd !== pid);
  return hit;
}

/** from: the other moment that `one` may be at, when the deed goes back to it. */
async function check(what, victim, from = n) {
  const agents = await settle();
  const now = agents.find((x) => x.name === 'one');
  assert.ok(now, what);
  if (['stopped', 'failed'].includes(now.state)) await a.cli('start', 'one', { timeout: 200000 * SLOW });
  const [inMemory, onDisk] = await moment('one');
  assert.ok([n, from].includes(onDisk), `${what}: the disk is at ${onDisk}, not ${n} or ${from}`);
  assert.ok(inMemory === onDisk || (inMemory === 0 && (victim === 'qemu' || !memory)), `${what}: the memory is at ${inMemory}, the disk at ${onDisk}`);
  memory = inMemory > 0;
  for (const x of agents) if (x.name === 'two') assert.deepEqual(await moment('two'), [n, n], `${what}: the fork`);
  await settle();
  await until('no leftovers', 30000, async () => (await a.leftovers()) === 'leftovers: none').catch(async () => assert.fail(`${what}: ${await a.leftovers()}`));
}

/** The deed cut short at each of its steps, or at one of them. */
async function atEachStep(name, args, victim, { ready, tidy } = {}) {
  let done = 0;
  for (let k = LONG ? 1 : STEP; LONG || k === STEP; k++) {
    const from = await ready?.();
    const hit = await killedAt(args, victim, k);
    await check(hit ? `${name}, ${victim} killed at step ${k}` : `${name}, whole`, victim, from);
    await tidy?.();
    await live();
    if (!hit) break;
    done++;
  }
  console.log(`# ${name}: ${victim} was killed at ${done} steps`);
  assert.ok(done > 0, `${name} has steps`);
}

async function removeSnapshots() {
  for (const { id } of (await a.json('snapshots')).snapshots) await a.cli('snapshot-rm', id);
}
async function removeFork() {
  if ((await a.json('ls')).agents.some((x) => x.name === 'two')) await a.cli('rm', 'two', { timeout: 60000 * SLOW });
}

function deed(name, victim, args, around) {
  const skip = LONG || (['suspend', 'fork', 'restore'].includes(name) && victim === 'berthd') ? false : 'BERTH_CHECK_LONG=1 runs it';
  test(`${name}, ${victim} killed`, { skip, timeout: 900000 * SLOW }, () => atEachStep(name, args, victim, around));
}

for (const victim of ['berthd', 'qemu']) {
  deed('suspend', victim, ['suspend', 'one']);
  deed('snapshot', victim, ['snapshot', 'one'], { tidy: removeSnapshots });
  deed('fork', victim, ['fork', 'one', 'two'], { tidy: removeFork });
  deed('restore', victim, ['restore', 'one', 'back'], {
    ready: async () => {
      await a.cli('snapshot', 'one', '--tag', 'back');
      const from = n;
      await live();
      return from;
    },
    tidy: removeSnapshots,
  });
}
deed('resume', 'berthd', ['resume', 'one'], { ready: () => a.cli('suspend', 'one').then(() => n) });
deed('rm', 'berthd', ['rm', 'two'], { ready: () => a.cli('fork', 'one', 'two', { timeout: 60000 * SLOW }).then(() => n), tidy: removeFork });
