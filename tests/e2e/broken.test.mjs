// A host that lacks things: a port in use, no QEMU, a full disk, a corrupt image, a corrupt database.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { Appliance, SLOW, processes, remains } from '../lib/appliance.mjs';

async function withAppliance(options, fn) {
  const a = Appliance.prepare(options);
  try {
    await fn(a);
  } finally {
    await a.destroy();
  }
}

test('a port in use: said, and nothing is left running', { timeout: 90000 * SLOW }, async () => {
  await withAppliance({ images: false }, async (a) => {
    const s = net.createServer().listen(a.port, '127.0.0.1');
    const r = await a.tryCli('up', '--listen', `127.0.0.1:${a.port}`, { timeout: 60000 * SLOW });
    s.close();
    assert.equal(r.status, 1);
    assert.match(r.stderr, new RegExp(`${a.port}`));
    assert.match(r.stderr, /in use/i);
    assert.deepEqual(remains(a.state), []);
    await a.up();
    assert.equal((await a.api('GET', '/healthz', undefined, { token: null })).status, 200);
  });
});

test('wrong addresses for --listen', { timeout: 60000 * SLOW }, async () => {
  await withAppliance({ images: false }, async (a) => {
    for (const listen of ['nonsense', '127.0.0.1:0x10', '127.0.0.1:70000', '300.1.1.1:7900', ':']) {
      const r = await a.tryCli('up', '--listen', listen, { timeout: 40000 * SLOW });
      assert.ok([1, 2].includes(r.status), `${listen}: ${r.status}`);
      assert.ok(r.stderr.length > 5);
    }
  });
});

test('no image yet: creating says how to get one', { timeout: 60000 * SLOW }, async () => {
  await withAppliance({ images: false }, async (a) => {
    await a.up();
    const r = await a.tryCli('create', 'x');
    assert.equal(r.status, 1);
    assert.match(r.stderr, /image build/);
    assert.deepEqual((await a.json('ls')).agents, []);
  });
});

test('a missing QEMU: a clear error, the record stays, and it starts once QEMU is there', { timeout: 200000 * SLOW }, async () => {
  const qemu = fs.realpathSync(execFileSync('sh', ['-c', 'command -v qemu-system-x86_64'], { encoding: 'utf8' }).trim());
  await withAppliance({}, async (a) => {
    execFileSync('mount', ['--bind', '/dev/null', qemu]);
    let made;
    try {
      await a.up();
      const r = await a.tryCli('create', 'x', { timeout: 60000 * SLOW });
      assert.equal(r.status, 1);
      assert.match(r.stderr, /qemu/i);
      assert.deepEqual((await a.json('ls')).agents, []);
      made = await a.json('create', 'y', '--no-start');
      const start = await a.api('POST', '/v1/agents/y/start');
      assert.equal(start.status, 503, start.raw.toString());
      assert.match(start.body.type, /qemu-missing$/);
      await a.down();
    } finally {
      execFileSync('umount', [qemu]);
    }
    await a.up();
    assert.equal((await a.show('y')).id, made.id);
    assert.equal((await a.json('start', 'y', { timeout: 120000 })).state, 'running');
  });
});

test('a full disk: refused with the reason, what is there stays', { timeout: 120000 * SLOW }, async () => {
  const state = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-e2e-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=711', 'tmpfs', state]);
  try {
    const a = Appliance.prepare({ images: false, state });
    await a.up();
    const token = (await a.lines('token', 'create', '--role', 'viewer')).at(-1);
    // A sparse image is enough to get as far as the disk.
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${state}/filler`, 'bs=64k'], { stdio: 'pipe' });
    } catch {
      // no space left, as wanted
    }
    const r = await a.tryCli('token', 'create', '--role', 'viewer', '--label', 'y'.repeat(60));
    if (r.status !== 0) assert.match(r.stderr, /space|full/i);
    const made = [];
    for (let i = 0; i < 400; i++) {
      const t = await a.api('POST', '/v1/tokens', { role: 'viewer', label: 'z'.repeat(60) });
      made.push(t.status);
      if (t.status === 507) break;
    }
    assert.ok(made.includes(507), `never said that the disk is full: ${[...new Set(made)]}`);
    assert.equal((await a.api('GET', '/v1/agents', undefined, { token })).status, 200);
    fs.rmSync(`${state}/filler`);
    assert.equal((await a.tryCli('token', 'create', '--role', 'viewer')).status, 0);
    await a.down();
    await a.up();
    assert.equal((await a.api('GET', '/v1/agents', undefined, { token })).status, 200);
    await a.down();
  } finally {
    execFileSync('umount', ['-l', state]);
    fs.rmdirSync(state);
  }
});

test('a corrupt image is refused by its digest', { timeout: 120000 * SLOW }, async () => {
  await withAppliance({}, async (a) => {
    const id = fs.readdirSync(`${a.state}/images`)[0];
    const kernel = `${a.state}/images/${id}/vmlinuz`;
    const bytes = fs.readFileSync(kernel);
    fs.rmSync(kernel); // the cache has the same file under another name
    bytes[bytes.length >> 1] ^= 1;
    fs.writeFileSync(kernel, bytes, { mode: 0o444 });
    await a.up();
    const r = await a.tryCli('create', 'x', { timeout: 90000 * SLOW });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /image/i);
    assert.match(r.stderr, /damaged|digest|changed/i);
    assert.ok(!processes().some((p) => /^qemu/.test(p.name)));
  });
});

test('an image cut short and a manifest that lies', { timeout: 120000 * SLOW }, async () => {
  await withAppliance({}, async (a) => {
    const dir = `${a.state}/images/${fs.readdirSync(`${a.state}/images`)[0]}`;
    const manifest = fs.readFileSync(`${dir}/manifest.json`);
    fs.rmSync(`${dir}/manifest.json`);
    fs.writeFileSync(`${dir}/manifest.json`, manifest.subarray(0, 100));
    await a.up();
    let r = await a.tryCli('create', 'x', { timeout: 90000 * SLOW });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /image/i);
    fs.writeFileSync(`${dir}/manifest.json`, manifest);
    fs.rmSync(`${dir}/initrd.img`);
    fs.writeFileSync(`${dir}/initrd.img`, '');
    r = await a.tryCli('create', 'x', { timeout: 90000 * SLOW });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /image/i);
  });
});

test('a corrupt database: berthd does not start over it, says so, and the file is kept', { timeout: 120000 * SLOW }, async () => {
  await withAppliance({ images: false }, async (a) => {
    await a.up();
    await a.down();
    const db = `${a.state}/berth.db`;
    for (const ending of ['-wal', '-shm']) fs.rmSync(db + ending, { force: true });
    const junk = Buffer.alloc(fs.statSync(db).size, 0x5a);
    fs.writeFileSync(db, junk);
    const r = await a.tryCli('up', '--listen', `127.0.0.1:${a.port}`, { timeout: 90000 * SLOW });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /database|berth\.db/i);
    assert.deepEqual(fs.readFileSync(db), junk);
  });
});

test('a state folder that is a file, or cannot be written', { timeout: 60000 * SLOW }, async () => {
  const file = path.join(os.tmpdir(), `berth-e2e-file-${process.pid}`);
  fs.writeFileSync(file, 'x');
  const a = new Appliance(file, 7999);
  const r = await a.tryCli('up', { timeout: 40000 * SLOW });
  fs.rmSync(file);
  assert.equal(r.status, 1);
  assert.match(r.stderr, new RegExp(file));
});
