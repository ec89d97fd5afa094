// Sleep, snapshots and forks: what was in the agent's memory is there again, what must be its own is its own, damage is found.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, internet, processes, resetInternet, until } from '../lib/appliance.mjs';
import { signIn, whoAmI } from '../lib/flow.mjs';

const SITE = 'https://shop.test';
// What the host said is late by as long as it took to be read; a clock that nobody set is wrong by all the time asleep.
const CLOCK_MS = 3000 * SLOW;
const FORKS = ['fork-1', 'fork-2', 'fork-3', 'fork-4', 'fork-5'];
let a;
let one;
let nonce; // only in the guest's memory, and here
let counted; // the counter when the snapshot was asked for
let kept; // the snapshot

before(
  async () => {
    a = await Appliance.start();
    one = await a.create('one', '--allow', 'shop.test', '--memory', '768', '--disk', '2');
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 240000 * SLOW });

/** Calls fn with the agent's page that shows the order form. */
async function onForm(name, fn) {
  const browser = await chromium.connectOverCDP(await a.cdp(name), { timeout: 60000 * SLOW });
  try {
    const page = browser.contexts()[0].pages().find((p) => p.url() === `${SITE}/form`);
    assert.ok(page, `${name} has no page with the form`);
    page.setDefaultTimeout(60000 * SLOW);
    return await fn(page);
  } finally {
    await browser.close();
  }
}

/** What the page holds: {typed, nonce, count}. */
const held = (name) => onForm(name, (page) => page.evaluate(() => ({ typed: document.querySelector('#what').value, nonce: window.nonce, count: window.count })));

async function isAsKept(name) {
  const page = await held(name);
  assert.equal(page.typed, 'half a sen', `${name}: the form`);
  assert.equal(page.nonce, nonce, `${name}: the nonce`);
  assert.ok(page.count >= counted && page.count < counted + 100000, `${name}: the counter is ${page.count}, it was ${counted}`);
}

/** In a page of its own: a new connection, right away. */
async function isSignedIn(name) {
  await onForm(name, async (form) => {
    const page = await form.context().newPage();
    page.setDefaultTimeout(60000 * SLOW);
    assert.equal(await whoAmI(page, SITE), 'anna', `${name}: the log-in`);
    await page.close();
  });
}

/** What no two agents may share, and by how many ms the clock is off at least. */
async function identity(name) {
  const page = await onForm(name, async (p) => {
    const before = Date.now();
    const v = await p.evaluate(() => ({
      uuid: crypto.randomUUID(),
      random: [...crypto.getRandomValues(new Uint8Array(16))].join(),
      now: Date.now(),
    }));
    return { ...v, off: Math.max(before - v.now, v.now - Date.now(), 0) };
  });
  const r = await a.exec(name, 'sh', '-c', 'hostname; cat /etc/machine-id /proc/sys/kernel/random/uuid; head -c 16 /dev/urandom | od -An -tx1');
  const [hostname, machineId, kernelUuid, urandom] = r.stdout.split('\n');
  return { off: page.off, ids: { uuid: page.uuid, random: page.random, hostname, machineId, kernelUuid, urandom } };
}

const reaches = async (name, url) => (await a.curl(name, url)) === 200;

async function policyHolds(name) {
  assert.ok(await reaches(name, `${SITE}/`), `${name} reaches what its rule allows`);
  for (const url of ['https://bank.test/', 'http://evil.test/', 'http://203.0.113.20/']) assert.ok(!(await reaches(name, url)), `${name} does not reach ${url}`);
}

/** Runs fn while one byte of a file is another one. */
async function withDamage(file, at, fn) {
  const fd = fs.openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  try {
    fs.readSync(fd, byte, 0, 1, at);
    fs.writeSync(fd, Buffer.from([byte[0] ^ 1]), 0, 1, at);
    await fn();
  } finally {
    fs.writeSync(fd, byte, 0, 1, at);
    fs.closeSync(fd);
  }
}

const qemus = () => processes().filter((p) => p.name.startsWith('qemu-system'));
const folder = (...parts) => path.join(a.state, ...parts);

test('a log-in, half a form, a counter and a nonce: kept, spoiled, restored', { timeout: 240000 * SLOW }, async () => {
  const browser = await chromium.connectOverCDP(await a.cdp('one'), { timeout: 60000 * SLOW });
  const page = await browser.contexts()[0].newPage();
  page.setDefaultTimeout(60000 * SLOW);
  await signIn(page, SITE, 'anna');
  await page.goto(`${SITE}/form`);
  await page.locator('#what').pressSequentially('half a sen');
  await page.locator('#what').blur(); // a caret that blinks in five emulated machines is much to draw
  [nonce, counted] = await page.evaluate(() => {
    window.count = 41;
    setInterval(() => window.count++, 1000); // five forks of it run at once later: not more often
    window.nonce = `${Math.random()} ${performance.now()}`;
    return [window.nonce, window.count];
  });
  await a.exec('one', 'sh', '-c', 'echo before >Uploads/note; sleep 5000 & echo $! >Uploads/pid');
  kept = await a.json('snapshot', 'one', '--tag', 'half-way');
  assert.match(kept.id, /^sn_[a-z2-7]{16}$/);
  assert.equal(kept.memory, true);
  assert.ok(kept.pause_ms > 0);
  // It went on: the same connection answers, the counter counts.
  const then = await page.evaluate(() => window.count);
  await until('the counter to go on', 10000, async () => (await page.evaluate(() => window.count)) > then);

  await page.fill('#what', 'spoiled');
  await page.evaluate(() => {
    window.count += 1000000;
    window.nonce = 'spoiled';
  });
  await page.context().clearCookies();
  assert.equal(await whoAmI(await page.context().newPage(), SITE), 'nobody');
  await a.exec('one', 'sh', '-c', 'echo after >Uploads/note');
  await browser.close();

  const back = await a.json('restore', 'one', 'half-way', { timeout: 120000 * SLOW });
  assert.equal(back.state, 'running');
  assert.equal(back.snapshot, kept.id);
  await isAsKept('one');
  assert.equal((await a.exec('one', 'sh', '-c', 'cat Uploads/note; kill -0 $(cat Uploads/pid) && echo lives')).stdout, 'before\nlives\n');
  await isSignedIn('one');
});

test('suspend: QEMU is gone, its memory is back; any request wakes it', { timeout: 240000 * SLOW }, async () => {
  assert.equal(qemus().length, 1);
  const asleep = await a.json('suspend', 'one');
  assert.equal(asleep.state, 'suspended');
  assert.equal(asleep.memory_bytes, 0);
  assert.equal(asleep.pid, null);
  assert.deepEqual(qemus(), []);
  assert.match((await a.lines('ls')).join('\n'), /one\s+suspended\s+-\s+-/);
  assert.equal((await a.json('suspend', 'one')).state, 'suspended', 'once more is no mistake');
  assert.equal((await a.exec('one', 'echo', 'awake')).stdout, 'awake\n');
  assert.equal((await a.show('one')).state, 'running');
  await isAsKept('one');
  await policyHolds('one');
  await a.cli('suspend', 'one');
  await a.cli('resume', 'one');
  await isAsKept('one');
  const types = (await a.json('log', 'one')).events.map((e) => e.type);
  for (const t of ['agent.suspending', 'agent.suspended', 'agent.resumed', 'snapshot.created']) assert.ok(types.includes(t), `${t} in ${types}`);
});

test('five forks at once: the same state, five of everything that must not be shared', { timeout: 420000 * SLOW }, async () => {
  await resetInternet();
  await a.cli('suspend', 'one'); // five are enough for two processors
  const { agents } = await a.json('fork', 'one', ...FORKS, '--snapshot', 'half-way', { timeout: 300000 * SLOW });
  assert.deepEqual(agents.map((x) => x.name).sort(), FORKS);
  assert.deepEqual(agents.map((x) => [x.parent, x.snapshot, x.state]), FORKS.map(() => [one.id, kept.id, 'running']));
  const seen = {};
  for (const name of FORKS) {
    await isAsKept(name);
    const { off, ids } = await identity(name);
    assert.ok(off <= CLOCK_MS, `${name}: the clock is off by ${off} ms`);
    assert.equal(ids.hostname, name);
    for (const [what, value] of Object.entries(ids)) (seen[what] ??= []).push(value);
  }
  const { ids } = await identity('one');
  await a.cli('suspend', 'one');
  for (const [what, value] of Object.entries(ids)) (seen[what] ??= []).push(value);
  for (const [what, values] of Object.entries(seen)) {
    assert.ok(values.every(Boolean), `${what}: ${values}`);
    assert.equal(new Set(values).size, FORKS.length + 1, `${what} differs in all: ${values}`);
  }
  // Each goes its own way.
  for (const name of FORKS) {
    await onForm(name, async (page) => {
      await page.fill('#what', `this is ${name}`);
      await page.locator('#what').blur();
    });
    await a.exec(name, 'sh', '-c', `echo ${name} >Uploads/note`);
  }
  for (const name of FORKS) {
    assert.equal((await held(name)).typed, `this is ${name}`);
    assert.equal((await a.exec(name, 'cat', 'Uploads/note')).stdout, `${name}\n`);
  }
  assert.equal((await a.exec('one', 'cat', 'Uploads/note')).stdout, 'before\n');
  for (const name of ['fork-1', 'fork-5']) await isSignedIn(name);
  await policyHolds('fork-1');
  await policyHolds('fork-5');
  // A TLS connection of each one's browser, the first since it woke but for the two above.
  for (const name of FORKS) await onForm(name, (page) => page.evaluate(() => fetch('/echo', { method: 'POST', body: 'x', cache: 'no-store' }).then((r) => r.text())));
  const { randoms } = await internet();
  assert.ok(randoms.length >= FORKS.length, `${randoms.length} TLS connections were seen`);
  assert.equal(new Set(randoms).size, randoms.length, 'no two TLS clients sent the same random');
  await a.cli('rm', 'fork-3', 'fork-4', 'fork-5');
});

test('snapshots of a suspended and of a stopped agent, disk only, and the tree', { timeout: 300000 * SLOW }, async () => {
  await a.cli('suspend', 'fork-1');
  const asleep = await a.json('snapshot', 'fork-1', '--tag', 'asleep');
  assert.equal(asleep.memory, true);
  assert.equal(asleep.parent, kept.id);
  assert.equal((await a.show('fork-1')).state, 'suspended');
  await a.cli('resume', 'fork-1');
  assert.equal((await held('fork-1')).typed, 'this is fork-1');
  await a.cli('create', 'from-sleep', '--from', 'asleep', { timeout: 120000 * SLOW });
  assert.equal((await held('from-sleep')).typed, 'this is fork-1');
  await a.cli('rm', 'from-sleep');

  await a.cli('stop', 'fork-1', { timeout: 120000 * SLOW });
  const stopped = await a.json('snapshot', 'fork-1', '--tag', 'at-rest');
  assert.equal(stopped.memory, false);
  assert.equal(stopped.parent, asleep.id);
  const disk = await a.json('snapshot', 'fork-2', '--disk-only');
  assert.equal(disk.memory, false);
  const tree = await a.lines('snapshots');
  assert.match(tree.join('\n'), new RegExp(`\\n${kept.id} +half-way +one .* memory .*\\n├─${asleep.id} +asleep +fork-1 .*\\n│ └─${stopped.id} +at-rest .* disk .*\\n└─${disk.id} `));
  assert.deepEqual((await a.lines('snapshots', 'fork-1', '-q')).sort(), [asleep.id, stopped.id].sort());

  const boots = await a.json('create', 'from-disk', '--from', 'at-rest', { timeout: 200000 * SLOW });
  assert.equal(boots.state, 'running');
  assert.equal((await a.exec('from-disk', 'cat', 'Uploads/note')).stdout, 'fork-1\n');
  await policyHolds('from-disk');
  await a.cli('rm', 'from-disk');
  await a.cli('snapshot-rm', 'at-rest', disk.id);
  for (const [args, type] of [
    [['restore', 'fork-2', 'half-way'], /is of agent 'one'/],
    [['restore', 'one', 'nothing'], /no snapshot 'nothing'/],
    [['snapshot', 'one', '--tag', 'a b'], /not a tag/],
    [['fork', 'one', 'fork-1'], /already/],
    [['resume', 'fork-1'], /not suspended/],
  ]) {
    const r = await a.tryCli(...args);
    assert.equal(r.status, 1, args.join(' '));
    assert.match(r.stderr, type);
  }
});

test('a byte flipped in a snapshot is found before anything starts from it', { timeout: 420000 * SLOW }, async () => {
  await a.cli('suspend', 'one', 'fork-2');
  const suspended = Date.now();
  const dir = folder('snapshots', kept.id);
  const manifest = JSON.parse(fs.readFileSync(path.join(dir, 'manifest.json')));
  const files = ['pages', 'device', manifest.memory.base, ...manifest.layers.map((l) => `${l.name}.qcow2`)];
  assert.ok(files.length >= 4);
  for (const file of files) {
    const size = fs.statSync(path.join(dir, file)).size;
    for (const at of new Set([Math.floor(size / 2), size - 1])) {
      await withDamage(path.join(dir, file), at, async () => {
        const r = await a.tryCli('create', 'never', '--from', 'half-way', { timeout: 120000 * SLOW });
        assert.equal(r.status, 1, `${file} at ${at}: ${r.stdout}`);
        assert.match(r.stderr, /damaged/, `${file} at ${at}`);
        assert.ok(r.stderr.includes(/^[dm]_/.test(file) ? file : 'memory'), `${file}: ${r.stderr}`);
        assert.equal((await a.tryCli('show', 'never')).status, 1);
      });
    }
  }
  await withDamage(path.join(dir, 'manifest.json'), 0, async () => {
    const r = await a.tryCli('create', 'never', '--from', kept.id);
    assert.equal(r.status, 1);
    assert.match(r.stderr, /manifest\.json is damaged/);
  });
  // One that runs is not given up for a snapshot that cannot be.
  const slept = (Date.now() - suspended) / 1000;
  await a.cli('resume', 'one');
  const { off } = await identity('one');
  assert.ok(off <= CLOCK_MS, `the clock is off by ${off} ms after ${slept} s`);
  await withDamage(path.join(dir, manifest.layers.length ? `${manifest.layers.at(-1).name}.qcow2` : 'pages'), 70000, async () => {
    const r = await a.tryCli('restore', 'one', 'half-way', { timeout: 120000 * SLOW });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /damaged/);
    assert.equal((await a.show('one')).state, 'running');
  });
  await isAsKept('one');
  await a.cli('create', 'whole', '--from', 'half-way', { timeout: 120000 * SLOW });
  await isAsKept('whole');
  await a.cli('rm', 'whole');
  assert.deepEqual(fs.readdirSync(folder('snapshots')).filter((n) => n.startsWith('.')), []);
});

test('a sleeper whose memory is damaged is not woken; without its memory it boots', { timeout: 300000 * SLOW }, async () => {
  const dir = folder('agents', (await a.show('fork-2')).id);
  const pages = path.join(dir, fs.readdirSync(dir).find((n) => n.startsWith('sleep.d_')), 'pages');
  await withDamage(pages, 5000, async () => {
    const r = await a.tryCli('resume', 'fork-2', { timeout: 120000 * SLOW });
    assert.equal(r.status, 1);
    assert.match(r.stderr, /cannot be woken.*damaged/);
    assert.match(r.stderr, /berth stop --force fork-2 && berth start fork-2/);
    const again = await a.tryCli('start', 'fork-2', { timeout: 120000 * SLOW });
    assert.equal(again.status, 1, 'nor when asked again');
    assert.equal((await a.show('fork-2')).state, 'suspended');
    assert.equal(qemus().length, 1);
    await a.cli('stop', '--force', 'fork-2');
    await a.cli('start', 'fork-2', { timeout: 200000 * SLOW });
  });
  assert.equal((await a.exec('fork-2', 'cat', '/home/agent/Uploads/note')).stdout, 'fork-2\n');
  await policyHolds('fork-2');
});

test('what forks stand on stays: the snapshot goes, the original goes', { timeout: 300000 * SLOW }, async () => {
  await a.cli('fork', 'one', 'heir', '--snapshot', 'half-way', { timeout: 120000 * SLOW });
  await a.cli('suspend', 'heir');
  await a.cli('snapshot-rm', 'half-way');
  assert.equal((await a.tryCli('create', 'never', '--from', 'half-way')).status, 1);
  assert.ok(!(await a.json('snapshots')).snapshots.some((s) => s.id === kept.id || s.parent === kept.id));
  await a.cli('rm', 'one', { timeout: 60000 * SLOW });
  await a.cli('resume', 'heir');
  await isAsKept('heir');
  await policyHolds('heir');
  const again = await a.json('snapshot', 'heir');
  await a.cli('restore', 'heir', again.id, { timeout: 120000 * SLOW });
  await isAsKept('heir');
});

test('any number of snapshots: layers become one beside the running guest, and nothing is lost', { timeout: 400000 * SLOW }, async () => {
  const dir = folder('agents', (await a.show('heir')).id), layers = () => fs.readdirSync(dir).filter((n) => n.endsWith('.qcow2')).length;
  const bytes = 'for i in $(seq 1 18); do printf "%s " $i; head -c 300000 Uploads/layer-$i | tail -c 5; done', want = [];
  for (let i = 1; i <= 18; i++) {
    await a.exec('heir', 'sh', '-c', `yes layer-${i} | head -c 300000 >Uploads/layer-${i}; echo ${i} >Uploads/note; sync`);
    want.push(`${i} ${`layer-${i}\n`.repeat(50000).slice(299995, 300000)}`);
    await a.cli('snapshot', 'heir', '--disk-only');
  }
  await until('the layers to be merged', 60000, () => layers() < 14);
  const isWhole = async () => assert.equal((await a.exec('heir', 'sh', '-c', `${bytes}; cat Uploads/note`)).stdout, `${want.join('')}18\n`);
  await isWhole();
  await a.exec('heir', 'sh', '-c', 'echo then >Uploads/then; sync');
  assert.ok((await a.json('snapshot', 'heir', '--disk-only')).layers < 14);
  await a.cli('suspend', 'heir');
  await a.cli('resume', 'heir');
  await isAsKept('heir');
  await isWhole();
  // All of it from the disk: a guest that has just booted remembers nothing.
  await a.cli('restart', 'heir', { timeout: 200000 * SLOW });
  await isWhole();
  assert.equal((await a.exec('heir', 'cat', 'Uploads/then')).stdout, 'then\n');
});

test('removed: no file of it is left, and `down` leaves none half made', { timeout: 200000 * SLOW }, async () => {
  const ids = (await a.json('ls')).agents.map((x) => x.id);
  await a.cli('rm', 'heir', 'fork-1', 'fork-2', { timeout: 120000 * SLOW });
  for (const { id } of (await a.json('snapshots')).snapshots) await a.cli('snapshot-rm', id);
  assert.deepEqual(fs.readdirSync(folder('snapshots')), []);
  assert.deepEqual(fs.readdirSync(folder('agents')), []);
  assert.ok(ids.includes(one.id) === false);
  assert.equal(await a.leftovers(), 'leftovers: none');
  const left = execFileSync('find', [a.state, '-name', '*.part', '-o', '-name', '.new-*', '-o', '-name', '.rm-*'], { encoding: 'utf8' });
  assert.equal(left, '');
});
