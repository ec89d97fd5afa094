// Two agents at once see neither each other's cookies, nor files, nor network, nor sockets.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, internet, resetInternet, run, until } from '../lib/appliance.mjs';
import { signIn, whoAmI } from '../lib/flow.mjs';

const SHOP = 'https://shop.test';
let a;
const agents = {};

before(
  async () => {
    a = await Appliance.start();
    for (const name of ['left', 'right']) agents[name] = await a.create(name, '--allow', 'shop.test');
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

async function page(name) {
  const browser = await chromium.connectOverCDP(await a.cdp(name), { timeout: 60000 * SLOW });
  const p = await browser.contexts()[0].newPage();
  p.setDefaultTimeout(45000 * SLOW);
  return { browser, p };
}

test('cookies', { timeout: 200000 * SLOW }, async () => {
  const left = await page('left');
  const right = await page('right');
  await signIn(left.p, SHOP, 'lea');
  assert.equal(await whoAmI(right.p, SHOP), 'nobody');
  await signIn(right.p, SHOP, 'rita');
  assert.equal(await whoAmI(left.p, SHOP), 'lea');
  await left.browser.close();
  await right.browser.close();
});

test('files and identity', { timeout: 150000 * SLOW }, async () => {
  assert.equal((await a.exec('left', 'sh', '-c', 'echo secret > /home/agent/secret; hostname')).stdout, 'left\n');
  const r = await a.exec('right', 'sh', '-c', 'ls -A /home/agent; hostname');
  assert.match(r.stdout, /right\n$/);
  assert.doesNotMatch(r.stdout, /secret/);
  const ids = [];
  for (const name of ['left', 'right']) ids.push((await a.exec(name, 'cat', '/etc/machine-id', '/proc/sys/kernel/random/boot_id')).stdout.split('\n'));
  assert.notEqual(ids[0][0], ids[1][0]);
  assert.notEqual(ids[0][1], ids[1][1]);
});

test('network: a listener in one is nothing to the other, nor are the host and the daemon', { timeout: 200000 * SLOW }, async () => {
  // The guest's Python is a small one, without http.server.
  const serve = `import socket
s = socket.create_server(("0.0.0.0", 8099))
while True:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    c.close()`;
  const listener = a.exec('left', 'python3', '-c', serve);
  await until('the listener answers at home', 60000, async () =>
    /200/.test((await a.exec('left', 'curl', '-sS', '-m', '40', '-o', '/dev/null', '-w', '%{http_code}', 'http://10.0.2.15:8099/')).stdout),
  );
  await resetInternet();
  // The guest's own addresses are the same everywhere: the other's listener must not answer there.
  for (const where of [
    'http://10.0.2.15:8099/', // itself
    'http://10.0.2.2:8099/',
    `http://203.0.113.2:${a.port}/healthz`, // the host
    `http://10.0.2.2:${a.port}/healthz`,
    'http://203.0.113.1/',
    'http://203.0.113.10/', // an allowed site's address: without its name, the relay itself answers 403 while it is pinned
  ]) {
    const r = await a.exec('right', 'curl', '-sS', '-m', '6', '-o', '/dev/null', '-w', '%{http_code}', where);
    assert.ok(r.status !== 0 || (r.stdout === '403' && where.includes('203.0.113.10')), `${where} answered ${r.stdout}`);
  }
  assert.deepEqual((await internet()).hosts, {});
  const r = await run('curl', ['-sS', '-m', '4', 'http://10.0.2.15:8099/']); // nor does the host see a guest's
  assert.notEqual(r.status, 0);
  await a.exec('left', 'pkill', '-f', 'create_server');
  await listener;
  const devices = (await run('ip', ['-o', 'link'])).stdout.toString();
  assert.doesNotMatch(devices, /tap/);
});

test('processes: each QEMU has a user of its own and cannot see the other agent', { timeout: 150000 * SLOW }, async () => {
  const left = (await a.pids(agents.left)).qemu;
  const right = (await a.pids(agents.right)).qemu;
  const owner = async (pid) => (await run('stat', ['-c', '%u', `/proc/${pid}`])).stdout.toString().trim();
  const uids = [await owner(left), await owner(right)];
  assert.notEqual(uids[0], uids[1]);
  assert.ok(uids.every((u) => u !== '0'));
  for (const [pid, other] of [
    [left, agents.right],
    [right, agents.left],
  ]) {
    const seen = (await run('ls', ['-R', `/proc/${pid}/root/`])).stdout.toString();
    assert.doesNotMatch(seen, new RegExp(other.id));
    assert.doesNotMatch(seen, /berth\.db|control\.sock|api\.sock/);
    const top = (await run('ls', [`/proc/${pid}/root/`])).stdout.toString().trim().split('\n');
    assert.deepEqual(top.filter((n) => !['agent', 'dev', 'device', 'etc', 'image', 'lib', 'lib64', 'memory', 'usr'].includes(n)), []);
    assert.equal((await run('ls', [`/proc/${pid}/root/etc`])).stdout.toString(), 'ld.so.cache\n');
    const mounts = fs.readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n').map((l) => l.split(' '));
    for (const m of mounts.filter((m) => ['/image', '/memory', '/device', '/usr'].some((p) => `${m[4]}/`.startsWith(`${p}/`)))) assert.match(m[5], /^ro/, m.join(' '));
    const status = (await run('cat', [`/proc/${pid}/status`])).stdout.toString();
    assert.match(status, /NoNewPrivs:\s+1/);
    assert.match(status, /CapEff:\s+0000000000000000/);
    assert.match(status, /Seccomp:\s+2/);
  }
  const ns = async (pid) => (await run('readlink', [`/proc/${pid}/ns/net`])).stdout.toString();
  assert.notEqual(await ns(left), await ns(right));
});

test("an agent's disk is its own user's alone", { timeout: 150000 * SLOW }, async () => {
  const owners = [];
  for (const name of ['left', 'right']) {
    const folder = `${a.state}/agents/${agents[name].id}`;
    const { mode: access } = fs.statSync(folder);
    assert.equal(access & 0o066, 0, `${folder} can be listed or written by others`);
    const files = fs.readdirSync(folder).map((f) => ({ f, st: fs.lstatSync(path.join(folder, f)) }));
    const own = files.filter(({ st }) => st.isFile() && st.mode & 0o200);
    assert.equal(own.length, 1, files.map(({ f }) => f).join(' ')); // one that is written
    assert.equal(own[0].st.mode & 0o777, 0o600);
    for (const { f, st } of files) assert.equal(st.mode & 0o022, 0, `${f} can be written by others`);
    const qemu = fs.readFileSync(`/proc/${(await a.pids(agents[name])).qemu}/status`, 'utf8');
    assert.equal(Number(/Uid:\s+(\d+)/.exec(qemu)[1]), own[0].st.uid);
    owners.push(own[0].st.uid);
  }
  assert.notEqual(owners[0], owners[1]);
});

test("one agent's token does not open the other", { timeout: 150000 * SLOW }, async () => {
  const token = (await a.lines('token', 'create', '--role', 'agent', '--agent', 'left')).at(-1);
  assert.equal((await a.api('GET', '/v1/agents/left/json/version', undefined, { token })).status, 200);
  for (const where of ['/v1/agents/right/json/version', '/v1/agents/right', '/v1/agents/right/screenshot', '/v1/agents/right/files/secret', '/v1/agents/right/policy'])
    assert.ok([403, 404].includes((await a.api('GET', where, undefined, { token })).status), where);
  assert.ok([403, 404].includes((await a.api('POST', '/v1/agents/right/exec', { cmd: ['id'] }, { token })).status));
  const list = await a.api('GET', '/v1/agents', undefined, { token });
  assert.deepEqual(list.body.agents.map((x) => x.name), ['left']);
});
