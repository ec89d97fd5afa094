// The host's disk runs full while an agent writes: it waits, nothing is lost, and it goes on when there is room.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Appliance, PREFIX, SLOW, image, until } from '../lib/appliance.mjs';

const LEFT = 12 << 20; // the command has begun while there is so much room, and writes more
let state;
let disk;
let a;

before(
  async () => {
    state = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-e2e-'));
    // Not a tmpfs: what an agent's memory stands on is a file of holes, and reading those takes room there.
    disk = `${state}.ext4`;
    execFileSync('truncate', ['-s', '256M', disk]);
    execFileSync('mkfs.ext4', ['-q', '-m', '0', disk]);
    execFileSync('mount', ['-o', 'loop', disk, state]);
    const [folder, id] = image();
    fs.mkdirSync(`${state}/images/${id}`, { recursive: true });
    execFileSync('mount', ['--bind', folder, `${state}/images/${id}`]);
    a = await Appliance.start({ images: false, state });
    await a.create('one');
  },
  { timeout: 200000 * SLOW },
);
after(
  async () => {
    await a?.down();
    execFileSync('umount', ['-l', state]); // with the image's mount below it
    fs.rmdirSync(state);
    fs.rmSync(disk);
  },
  { timeout: 180000 * SLOW },
);

/** Leaves that many bytes on the host's disk. */
function fill(left) {
  const { bavail, bsize } = fs.statfsSync(state);
  execFileSync('fallocate', ['-l', String(Math.max(bavail * bsize - left, 4096)), `${state}/filler`]);
}

/** The rest of it, too, in pieces of any size. */
function fillUp() {
  try {
    execFileSync('dd', ['if=/dev/zero', `of=${state}/filler-too`, 'bs=4k'], { stdio: 'pipe' });
  } catch {
    // no room left, as wanted
  }
}

/** A command in the agent: {out, status} as they come. */
function begin(...cmd) {
  const child = spawn(`${PREFIX}/bin/berth`, ['exec', 'one', '--', ...cmd], { env: { ...process.env, ...a.env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const c = { out: '', err: '', status: undefined };
  child.stdout.on('data', (d) => (c.out += d));
  child.stderr.on('data', (d) => (c.err += d));
  child.on('close', (status) => (c.status = status));
  return c;
}

test('the agent waits while there is no room, whoever asks is told so, then it goes on', { timeout: 300000 * SLOW }, async () => {
  const was = await a.show('one');
  // A guest that stands still cannot begin a command: this one has begun before there is too little room.
  const writing = begin('sh', '-c', 'mkfifo go && echo begun && read x < go && head -c 40000000 /dev/urandom > big && sync && sha256sum < big && sha256sum < big');
  await until('the command', 60000, () => writing.out === 'begun\n');
  fill(LEFT);
  assert.equal((await a.exec('one', 'sh', '-c', 'echo x > go')).status, 0);
  await until('the agent says that it waits', 120000, async () => /full/.test((await a.show('one')).state_detail));
  fillUp();
  const refused = await a.api('POST', '/v1/agents', { name: 'two' });
  assert.equal(refused.status, 507, refused.raw.toString());
  assert.match(refused.body.type, /disk-full$/);
  assert.deepEqual((await a.json('ls')).agents.map((x) => x.name), ['one']);
  assert.equal(fs.readdirSync(`${state}/agents`).length, 1);
  // Twice the 30 s after which berthd takes a guest that says nothing for hung.
  for (let i = 0; i < 2; i++) {
    const asked = await a.api('POST', '/v1/agents/one/exec', { cmd: ['true'] });
    assert.equal(asked.status, 507, asked.raw.toString());
    assert.match(asked.body.type, /disk-full$/);
    assert.match(asked.body.detail, /waits: the host's disk is full/);
  }
  const waiting = await a.show('one');
  assert.equal(waiting.pid, was.pid);
  assert.equal(waiting.state, 'running');

  for (const name of ['filler', 'filler-too']) fs.rmSync(`${state}/${name}`);
  await until('the command to end', 120000, () => writing.status !== undefined);
  assert.equal(writing.status, 0, writing.err);
  const digests = writing.out.trim().split('\n').filter((l) => l.length > 60);
  assert.equal(digests.length, 2);
  assert.equal(digests[0], digests[1]);
  const now = await until('the agent says that it goes on', 30000, async () => {
    const agent = await a.show('one');
    return agent.state_detail === '' && agent;
  });
  assert.equal(now.pid, was.pid);
  assert.equal(now.restarts, was.restarts);
  assert.equal((await a.json('status')).agents.running, 1);
});

test('what was written is there after a stop and a start', { timeout: 200000 * SLOW }, async () => {
  const before = (await a.exec('one', 'sha256sum', 'big')).stdout;
  await a.cli('stop', 'one', { timeout: 90000 * SLOW });
  await a.cli('start', 'one', { timeout: 150000 * SLOW });
  assert.equal((await a.exec('one', 'sha256sum', 'big')).stdout, before);
  const types = (await a.json('events')).events.map((e) => e.type);
  for (const t of ['agent.hung', 'agent.crashed']) assert.ok(!types.includes(t), `${t} in ${types}`);
});
