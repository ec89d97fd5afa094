// kill -9 of one part at a time in mid-flow: the rest goes on, the part is back, nothing is lost; and in the end nothing is left.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, cgroups, lastly, netNamespaces, processes, remains, sleep, traces, until } from '../lib/appliance.mjs';
import { loadNotes, saveNotes, signIn, whoAmI } from '../lib/flow.mjs';

const SHOP = 'https://shop.test';
const AT_RISK_MS = 8000; // what a killed browser takes along at most (docs/guest-image.md)
let a;
let agent;
let namespacesBefore;

before(
  async () => {
    namespacesBefore = netNamespaces();
    a = await Appliance.start();
    agent = await a.create('one', '--allow', 'shop.test');
  },
  { timeout: 200000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

async function connect() {
  const browser = await chromium.connectOverCDP(await a.cdp('one'), { timeout: 60000 * SLOW });
  const page = await browser.contexts()[0].newPage();
  page.setDefaultTimeout(60000 * SLOW);
  return { browser, page };
}

const alive = (pid) => processes().some((p) => p.pid === pid);

/** Kills a part and waits until another process has its place. */
async function killAndWait(part) {
  const old = (await a.pids(agent))[part];
  process.kill(old, 'SIGKILL');
  await until(`${part} is back`, 60000, async () => {
    const now = await a.pids(agent);
    return now[part] !== old && alive(now[part]);
  });
  return old;
}

test('berthd: the open connection does not notice', { timeout: 240000 * SLOW }, async () => {
  const { browser, page } = await connect();
  await signIn(page, SHOP, 'dora');
  const was = await a.pids(agent);
  await killAndWait('berthd');
  assert.equal(await whoAmI(page, SHOP), 'dora'); // the same connection
  await until('berthd knows its agent again', 60000, async () => {
    const now = await a.show('one');
    return now.state === 'running' && now.browser === 'up' && now.id === agent.id;
  });
  const now = await a.pids(agent);
  assert.equal(now.qemu, was.qemu);
  assert.equal(now.policy, was.policy);
  assert.equal(now.gateway, was.gateway);
  assert.equal((await a.exec('one', 'echo', 'still')).stdout, 'still\n');
  await browser.close();
  const again = await connect();
  assert.equal(await whoAmI(again.page, SHOP), 'dora');
  await again.browser.close();
});

test('berth-gateway: clients reconnect, tabs are still open', { timeout: 240000 * SLOW }, async () => {
  const first = await connect();
  await first.page.goto(`${SHOP}/form`);
  await first.page.fill('#what', 'typed before');
  const was = await a.pids(agent);
  const gone = new Promise((ok) => first.browser.on('disconnected', ok));
  await killAndWait('gateway');
  await gone;
  const now = await a.pids(agent);
  assert.equal(now.qemu, was.qemu);
  assert.equal(now.berthd, was.berthd);
  const second = await connect();
  const page = second.browser.contexts()[0].pages().find((p) => p.url() === `${SHOP}/form`);
  assert.equal(await page.inputValue('#what'), 'typed before');
  await second.browser.close();
});

test('berth-policy: closed while it is gone, back by itself with the same rules', { timeout: 240000 * SLOW }, async () => {
  const { browser, page } = await connect();
  await page.goto(`${SHOP}/world`);
  await killAndWait('policy');
  await until('the site can be reached again', 30000, async () => (await a.exec('one', 'curl', '-ksS', '-m', '5', '-o', '/dev/null', 'https://shop.test/')).status === 0);
  assert.notEqual((await a.exec('one', 'curl', '-ksS', '-m', '5', 'https://bank.test/')).status, 0);
  await page.goto(`${SHOP}/form`);
  await browser.close();
  await until('both events', 30000, async () => {
    const types = JSON.stringify(await a.json('log', 'one'));
    return /policy\.down/.test(types) && /policy\.up/.test(types);
  });
});

test('Chromium: the guest starts it again, the address stays, the log-in too', { timeout: 240000 * SLOW }, async () => {
  const { browser, page } = await connect();
  const url = await a.cdp('one');
  await signIn(page, SHOP, 'emma');
  await saveNotes(page, SHOP);
  await sleep(AT_RISK_MS * SLOW);
  const was = await a.pids(agent);
  const gone = new Promise((ok) => browser.on('disconnected', ok));
  const r = await a.exec('one', 'sh', '-c', 'pkill -9 -o -u agent -f chrom');
  assert.equal(r.status, 0, r.stderr);
  await gone;
  await until('the browser is up', 60000, async () => (await a.show('one')).browser === 'up');
  const next = await chromium.connectOverCDP(url, { timeout: 60000 * SLOW });
  const p = await next.contexts()[0].newPage();
  p.setDefaultTimeout(60000 * SLOW);
  assert.equal(await whoAmI(p, SHOP), 'emma');
  assert.deepEqual(await loadNotes(p, SHOP), { local: 'saffron', db: 'remember the milk' });
  await next.close();
  assert.equal((await a.pids(agent)).qemu, was.qemu);
});

test('QEMU: the machine is started again, its files are there', { timeout: 200000 * SLOW }, async () => {
  await a.exec('one', 'sh', '-c', 'echo kept > ~/kept; sync');
  const was = await a.show('one');
  await killAndWait('qemu');
  await until('the browser is up', 120000, async () => {
    const now = await a.show('one');
    return now.state === 'running' && now.browser === 'up' && now.restarts > was.restarts;
  });
  assert.equal((await a.exec('one', 'cat', 'kept')).stdout, 'kept\n');
});

test('the supervisor: berthd and the agents go on or end as a whole, and `berth up` works again', { timeout: 200000 * SLOW }, async () => {
  const was = await a.pids(agent);
  process.kill(was.supervisor, 'SIGKILL');
  await until('the supervisor is gone', 60000, () => !alive(was.supervisor));
  await a.up();
  await until('the agent runs', 120000, async () => {
    const now = await a.show('one').catch(() => null);
    if (now?.state === 'stopped') await a.tryCli('start', 'one', { timeout: 240000 * SLOW });
    return now?.state === 'running' && now.browser === 'up';
  });
  assert.equal((await a.show('one')).id, agent.id);
  assert.equal((await a.exec('one', 'cat', 'kept')).stdout, 'kept\n');
});

test('rm takes everything of the agent, down everything of the appliance', { timeout: 200000 * SLOW }, async () => {
  const other = await a.create('two');
  const { qemu, policy } = await a.pids(other);
  const namespace = fs.readlinkSync(`/proc/${qemu}/ns/net`);
  const before = traces(a.state, other.id, namespace).join('\n');
  for (const what of [/agents\/ag_/, /run\/ns\/ag_/, /cgroup\/.*ag_/, /process \d+ .*qemu/, /mount in process/, /ns\/net of process/]) assert.match(before, what); // it can be seen at all
  assert.equal(await a.leftovers(), 'leftovers: none');
  await a.cli('rm', 'two', { timeout: 90000 * SLOW });
  assert.deepEqual(await lastly(() => [qemu, policy].filter(alive)), []);
  assert.deepEqual(await lastly(() => traces(a.state, other.id, namespace)), []);
  assert.notEqual((await a.tryCli('show', 'two')).status, 0);

  const one = await a.pids(agent);
  const ones = fs.readlinkSync(`/proc/${one.qemu}/ns/net`);
  const groups = cgroups(a.state);
  assert.ok(groups.length > 0 && groups.every((g) => fs.existsSync(g)), groups.join(' '));
  assert.equal(await a.leftovers(), 'leftovers: none');
  await a.down();
  assert.equal(await a.leftovers(), 'leftovers: none');
  assert.deepEqual(await lastly(() => groups.filter((g) => fs.existsSync(g))), []);
  assert.deepEqual(await lastly(() => remains(a.state)), []);
  assert.deepEqual(await lastly(() => [...netNamespaces()].filter((n) => !namespacesBefore.has(n))), []);
  assert.deepEqual(traces(a.state, agent.id, ones), [`${a.state}/agents/${agent.id}`]); // its disk, to be started again
  assert.equal(execFileSync('nft', ['list', 'ruleset'], { encoding: 'utf8' }), '');
  const files = execFileSync('find', [a.state, '-mindepth', '1', '-not', '-path', '*/images/*', '-printf', '%P\n'], { encoding: 'utf8' });
  const expected = new RegExp(`^(agents(/${agent.id}(/[dm]_[a-z0-9]+(\\.qcow2)?)?)?|images|snapshots|templates(/.*)?|log(/[a-z]+\\.log(\\.1)?)?|berth\\.db(\\.bak)?|kvm\\.json)$`);
  assert.deepEqual(files.trimEnd().split('\n').filter((f) => !expected.test(f)), []);

  // The record is not lost: up again, the agent is there, stopped, with its disk.
  await a.up();
  const list = (await a.json('ls')).agents;
  assert.deepEqual(list.map((x) => x.name), ['one']);
  await a.cli('rm', 'one', { timeout: 60000 * SLOW });
  assert.deepEqual(fs.readdirSync(`${a.state}/agents`), []);
});
