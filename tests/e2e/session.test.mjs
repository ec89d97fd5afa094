// Connections outlive sleep: a Playwright script and raw clients stay connected while their agent is suspended (QEMU gone) and
// woken again, over restarts of berthd too, and are told when the guest they knew is no more.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';
import WebSocket from 'ws';

import { Appliance, SLOW, processes, sleep, until } from '../lib/appliance.mjs';

const SHOP = 'https://shop.test';
const QUIET_MS = 3000; // long enough for a wake that must not come
const IDLE_S = 14; // use is told to berthd every 5 s: a busy machine may be late by the rest of it
let a;
let token;

before(
  async () => {
    a = await Appliance.start();
    await a.create('one', '--allow', 'shop.test');
    token = (await a.lines('token', 'create', '--role', 'agent', '--agent', 'one')).at(-1);
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

const state = async () => (await a.api('GET', '/v1/agents/one')).body.state;
const qemu = () => processes().filter((p) => p.name.startsWith('qemu-system')).map((p) => p.pid);
const wakes = async () => Number(/^berth_gateway_wakes_total (\d+)$/m.exec((await a.api('GET', '/metrics')).body)[1]);

async function ask(method, where, body) {
  const r = await a.api(method, where, body, { timeout: 120000 * SLOW });
  assert.ok(r.status < 300, `${method} ${where}: ${r.status} ${r.raw}`);
  return r.body;
}

async function suspend() {
  await ask('POST', '/v1/agents/one/suspend');
  assert.equal(await state(), 'suspended');
  assert.deepEqual(qemu(), [], 'QEMU still runs');
}

/** A raw CDP client: call(method) gives the answer; closed the code and reason. */
async function client(path = '/v1/agents/one/cdp') {
  const ws = new WebSocket(`ws://127.0.0.1:${a.port}${path}?token=${token}`, { perMessageDeflate: false });
  const waiting = new Map();
  const c = { ws, pongs: 0, closed: null };
  let id = 0;
  ws.on('pong', () => c.pongs++);
  ws.on('close', (code, reason) => (c.closed = { code, reason: String(reason) }));
  ws.on('error', () => {});
  ws.on('message', (m) => {
    const o = JSON.parse(m);
    waiting.get(o.id)?.(o);
    waiting.delete(o.id);
  });
  c.call = (method, params = {}) =>
    new Promise((ok) => {
      waiting.set(++id, ok);
      ws.send(JSON.stringify({ id, method, params }));
    });
  await new Promise((ok, fail) => ws.once('open', ok).once('error', fail));
  return c;
}

/** A page with what only its guest's memory knows. */
async function begin() {
  const browser = await chromium.connectOverCDP(`${a.base}/v1/agents/one?token=${token}`, { timeout: 60000 * SLOW });
  const script = { browser, nonce: crypto.randomUUID(), lost: false };
  browser.on('disconnected', () => (script.lost = true));
  script.page = await browser.contexts()[0].newPage();
  script.page.setDefaultTimeout(60000 * SLOW);
  await script.page.setContent('<title>mine</title>');
  await script.page.evaluate((nonce) => {
    globalThis.nonce = nonce;
    globalThis.ticks = 0;
    setInterval(() => globalThis.ticks++, 50);
  }, script.nonce);
  return script;
}

const look = (page) => page.evaluate(() => ({ nonce: globalThis.nonce, ticks: globalThis.ticks }));

test('one Playwright script over three suspends', { timeout: 300000 * SLOW }, async (t) => {
  const { browser, page, nonce, ...script } = await begin();
  browser.on('disconnected', () => (script.lost = true));
  let before = await look(page);
  for (let i = 1; i <= 3; i++) {
    const [pid] = qemu();
    await suspend();
    const begun = Date.now();
    const now = await look(page);
    const { events } = await ask('GET', '/v1/agents/one/events?follow=0&limit=20');
    const resumed = events.findLast((e) => e.type === 'agent.resumed');
    t.diagnostic(`sleep ${i}: message to answer ${Date.now() - begun} ms, of it after agent.resumed at most ${Date.now() - Date.parse(resumed.time)} ms`);
    assert.equal(now.nonce, nonce);
    assert.ok(now.ticks >= before.ticks, `the counter went back from ${before.ticks} to ${now.ticks}`);
    assert.notEqual(qemu()[0], pid);
    await until('its timers to run', 60000, async () => (await look(page)).ticks > now.ticks + 3);
    before = await look(page);
  }
  await page.goto(`${SHOP}/world`);
  assert.ok(!script.lost, 'the connection was lost');
  await page.close();
  await browser.close();
});

test('one Playwright script over kill -9 of berthd, while the agent sleeps and while it runs', { timeout: 300000 * SLOW }, async () => {
  const { browser, page, nonce, ...script } = await begin();
  browser.on('disconnected', () => (script.lost = true));
  await suspend();
  process.kill((await a.pids()).berthd, 'SIGKILL');
  assert.equal((await look(page)).nonce, nonce);
  assert.equal(await state(), 'running');
  process.kill((await a.pids()).berthd, 'SIGKILL');
  assert.equal((await look(page)).nonce, nonce);
  await until('berthd is back and knows its machine', 60000, async () => {
    const now = await a.show('one');
    return now.state === 'running' && now.browser === 'up' && !now.state_detail;
  });
  await suspend();
  assert.equal((await look(page)).nonce, nonce);
  assert.ok(!script.lost, 'the connection was lost');
  await page.close();
  await browser.close();
});

test('twenty idle clients do not wake it, and all go on', { timeout: 300000 * SLOW }, async () => {
  const all = [];
  for (let i = 0; i < 20; i++) all.push(await client());
  await Promise.all(all.map((c) => c.call('Browser.getVersion')));
  await suspend();
  const woken = await wakes();
  for (const c of all) c.ws.ping();
  await until('the pongs', 30000, () => all.every((c) => c.pongs === 1));
  await sleep(QUIET_MS);
  assert.equal(await state(), 'suspended');
  const answers = await Promise.all(all.map((c) => c.call('Browser.getVersion')));
  assert.ok(answers.every((o) => /Chrome/.test(o.result.product)));
  assert.equal(await wakes(), woken + 1);
  assert.ok(all.every((c) => !c.closed));
  for (const c of all) c.ws.close();
});

test('a client that sends all the time while the agent is suspended gets every answer', { timeout: 300000 * SLOW }, async (t) => {
  const c = await client();
  let stop = false;
  let n = 0;
  let worst = 0;
  const sending = (async () => {
    while (!stop) {
      const begun = Date.now();
      const o = await c.call('Runtime.evaluate', { expression: String(n) }).then((r) => r.error ?? r.result);
      assert.ok(o);
      worst = Math.max(worst, Date.now() - begun);
      n++;
      await sleep(1);
    }
  })();
  for (let i = 0; i < 3; i++) {
    const woken = await wakes();
    await ask('POST', '/v1/agents/one/suspend');
    await until('it is awake', 60000, async () => (await wakes()) > woken && (await state()) === 'running');
    const seen = n;
    await until('answers', 30000, () => n > seen + 5);
  }
  stop = true;
  await sending;
  t.diagnostic(`${n} answers, the longest wait ${worst} ms`);
  assert.equal(c.closed, null);
  c.ws.close();
});

test('a command over its WebSocket goes on after sleep', { timeout: 300000 * SLOW }, async () => {
  const ws = new WebSocket(`ws://127.0.0.1:${a.port}/v1/agents/one/exec?token=${token}`, 'berth.exec.v1', { perMessageDeflate: false });
  let out = '';
  let end;
  ws.on('message', (m, binary) => {
    if (binary) out += m.subarray(1);
    else end = JSON.parse(m);
  });
  await new Promise((ok, fail) => ws.once('open', ok).once('error', fail));
  ws.send(JSON.stringify({ cmd: ['sh', '-c', 'echo $$; while read l; do echo "$$ $l"; done'] }));
  await until('the shell', 60000, () => out.includes('\n'));
  const shell = out.trim();
  await suspend();
  await sleep(QUIET_MS);
  assert.equal(await state(), 'suspended');
  ws.send(Buffer.from('\0hello\n'));
  await until('the echo', 60000, () => out === `${shell}\n${shell} hello\n`);
  ws.send(Buffer.from('\0'));
  await until('the end', 60000, () => end);
  assert.deepEqual(end, { exit_status: 0, signal: 0 });
});

test('a request of any kind wakes it', { timeout: 300000 * SLOW }, async () => {
  await suspend();
  assert.match(JSON.stringify(await ask('GET', '/v1/agents/one/json/version')), /Chrome/);
  await suspend();
  assert.equal((await ask('POST', '/v1/agents/one/exec', { cmd: ['echo', 'up'] })).stdout, 'up\n');
  await suspend();
  assert.ok((await ask('GET', '/v1/agents/one/screenshot')).length > 1000);
});

test('who uses it keeps it awake, who is silent does not', { timeout: 300000 * SLOW }, async () => {
  const c = await client();
  await c.call('Browser.getVersion');
  await ask('PATCH', '/v1/agents/one', { idle_suspend: IDLE_S });
  for (const end = Date.now() + 2 * IDLE_S * 1000; Date.now() < end; await sleep(1000)) {
    await c.call('Browser.getVersion');
    assert.equal(await state(), 'running');
  }
  await until('it to fall asleep', 40000, async () => (await state()) === 'suspended');
  await c.call('Browser.getVersion');
  assert.equal((await ask('POST', '/v1/agents/one/exec', { cmd: ['sh', '-c', `sleep ${IDLE_S + 8}; echo done`] })).stdout, 'done\n');
  await ask('PATCH', '/v1/agents/one', { idle_suspend: 0 });
  const { events } = await ask('GET', '/v1/agents/one/events?follow=0&limit=200');
  const slept = events.filter((e) => e.type === 'agent.suspending' && e.by === 'idle');
  assert.equal(slept.length, 1, JSON.stringify(events.map((e) => `${e.time} ${e.type} ${e.by}`), null, 1));
  c.ws.close();
});

test('a restart of the gateway while the agent sleeps', { timeout: 300000 * SLOW }, async () => {
  const { browser, page, nonce } = await begin();
  const gone = new Promise((ok) => browser.on('disconnected', ok));
  await suspend();
  process.kill((await a.pids()).gateway, 'SIGKILL');
  await gone;
  await until('the gateway is back', 60000, async () => (await state()) === 'suspended');
  const again = await chromium.connectOverCDP(`${a.base}/v1/agents/one?token=${token}`, { timeout: 60000 * SLOW });
  const pages = again.contexts()[0].pages();
  const seen = await Promise.all(pages.map((p) => look(p)));
  assert.ok(seen.some((s) => s.nonce === nonce), JSON.stringify(seen));
  for (const p of pages) await p.close();
  await again.close();
  await page.close().catch(() => {});
});

test('a snapshot put back ends what knew the machine before, asleep and awake', { timeout: 300000 * SLOW }, async () => {
  const { id } = await ask('POST', '/v1/agents/one/snapshots', { tag: 'here' });
  for (const asleep of [false, true]) {
    const c = await client();
    await c.call('Browser.getVersion');
    if (asleep) await suspend();
    const restored = ask('POST', '/v1/agents/one/restore', { snapshot: id });
    await until('the end', 60000, () => c.closed);
    assert.equal(c.closed.code, 1012);
    await restored;
    const next = await client();
    assert.match((await next.call('Browser.getVersion')).result.product, /Chrome/);
    next.ws.close();
  }
});

test('a crash, and a stop while it sleeps, end what is open', { timeout: 300000 * SLOW }, async () => {
  let c = await client();
  await c.call('Browser.getVersion');
  process.kill(qemu()[0], 'SIGKILL');
  await until('the end', 60000, () => c.closed);
  assert.deepEqual(c.closed.code, 1012, c.closed.reason);
  await until('the agent is back', 120000, async () => (await a.show('one')).browser === 'up');
  c = await client();
  await c.call('Browser.getVersion');
  await suspend();
  await ask('POST', '/v1/agents/one/stop', { force: true });
  await until('the end', 60000, () => c.closed);
  assert.deepEqual(c.closed, { code: 1001, reason: 'the agent was stopped' });
});
