// The host's disk runs full while an agent writes: it waits, nothing is lost, and it goes on when there is room.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Appliance, SLOW, image, sleep, until } from '../lib/appliance.mjs';

const HANG_MS = 30000; // berthd takes a guest that says nothing for so long for hung
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

function fill() {
  try {
    execFileSync('dd', ['if=/dev/zero', `of=${state}/filler`, 'bs=64k'], { stdio: 'pipe' });
  } catch {
    // no room left, as wanted
  }
}

test('the agent waits while there is no room, others are answered, then it goes on', { timeout: 200000 * SLOW }, async () => {
  const was = await a.show('one');
  fill();
  const writing = a.exec('one', 'sh', '-c', 'head -c 40000000 /dev/urandom > big && sync && sha256sum < big && sha256sum < big');
  await until('the agent says that it waits', 60000, async () => /full/.test((await a.show('one')).state_detail));
  const refused = await a.api('POST', '/v1/agents', { name: 'two' });
  assert.equal(refused.status, 507, refused.raw.toString());
  assert.match(refused.body.type, /disk-full$/);
  assert.deepEqual((await a.json('ls')).agents.map((x) => x.name), ['one']);
  assert.equal(fs.readdirSync(`${state}/agents`).length, 1);
  await sleep(HANG_MS + 8000);
  const waiting = await a.show('one');
  assert.equal(waiting.pid, was.pid);
  assert.equal(waiting.state, 'running');

  fs.rmSync(`${state}/filler`);
  const r = await writing;
  assert.equal(r.status, 0, r.stderr);
  const digests = r.stdout.trim().split('\n').filter((l) => l.length > 60);
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
  await a.cli('stop', 'one', { timeout: 90000 });
  await a.cli('start', 'one', { timeout: 150000 });
  assert.equal((await a.exec('one', 'sha256sum', 'big')).stdout, before);
  const types = (await a.json('events')).events.map((e) => e.type);
  for (const t of ['agent.hung', 'agent.crashed']) assert.ok(!types.includes(t), `${t} in ${types}`);
});
