// The way out: without a rule nothing, with a rule exactly that; what is forbidden never arrives anywhere.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, internet, resetInternet, sleep, until } from '../lib/appliance.mjs';

let a;
before(
  async () => {
    a = await Appliance.start();
    await a.create('shut');
    await a.create('shop', '--allow', 'shop.test');
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

const curl = (...args) => a.curl(...args);
const refused = (v) => typeof v === 'string';

test('without --allow nothing leaves', { timeout: 240000 * SLOW }, async () => {
  await resetInternet();
  for (const where of ['https://shop.test/', 'http://shop.test/', 'http://203.0.113.10/', 'https://198.51.100.66/', 'http://evil.test/'])
    assert.ok(refused(await curl('shut', where)), where);
  const dig = await a.exec('shut', 'dig', '+short', '+time=2', '+tries=1', 'shop.test');
  assert.doesNotMatch(dig.stdout, /203\.0\.113/);
  const elsewhere = await a.exec('shut', 'dig', '+short', '+time=2', '+tries=1', '@203.0.113.53', 'shop.test');
  assert.doesNotMatch(elsewhere.stdout, /203\.0\.113\.10/);
  const ping = await a.exec('shut', 'python3', '-c', 'import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"x", ("198.51.100.66", 443))');
  void ping;
  await sleep(500);
  const seen = await internet();
  assert.deepEqual(seen.hosts, {});
  assert.deepEqual(seen.connections, {});
  assert.deepEqual(seen.dns, []);
  assert.equal(seen.datagrams, 0);
});

test('with --allow exactly that name', { timeout: 240000 * SLOW }, async () => {
  await resetInternet();
  assert.equal(await curl('shop', 'https://shop.test/'), 200);
  assert.equal(await curl('shop', 'http://shop.test/'), 200);
  const forbidden = [
    ['https://bank.test/'],
    ['http://evil.test/'],
    ['https://www.shop.test/'],
    ['http://evilshop.test/'],
    ['https://shop.test.evil.test/'],
    ['http://shop.test:8080/'],
    ['https://shop.test:8443/'],
    ['https://203.0.113.10/'],
    ['http://198.51.100.66/'],
    ['http://loop.test/'],
    ['http://inside.test/'],
    // Names that lie about addresses, and addresses that lie about names.
    ['--resolve', 'evil.test:443:203.0.113.10', 'https://evil.test/'],
    ['--resolve', 'shop.test:443:198.51.100.66', 'https://shop.test/'],
    ['-H', 'Host: evil.test', 'http://shop.test/'],
  ];
  for (const args of forbidden) assert.ok(refused(await curl('shop', ...args)) || args.includes('Host: evil.test'), args.join(' '));
  const seen = await internet();
  assert.deepEqual(Object.keys(seen.hosts), ['shop.test']);
  assert.deepEqual(
    Object.keys(seen.connections).filter((c) => !['203.0.113.10:443', '203.0.113.10:80'].includes(c)),
    [],
  );
  assert.deepEqual([...new Set(seen.dns.map((q) => q.name))], ['shop.test']);
  assert.ok(seen.dns.every((q) => ['A', 'AAAA'].includes(q.type)), JSON.stringify(seen.dns));
});

test('a page that tries to leak gets nowhere', { timeout: 240000 * SLOW }, async () => {
  const browser = await chromium.connectOverCDP(await a.cdp('shop'), { timeout: 60000 * SLOW });
  const page = await browser.contexts()[0].newPage();
  page.setDefaultTimeout(60000 * SLOW);
  await resetInternet();
  await page.goto('https://shop.test/leak', { timeout: 45000 * SLOW });
  await page.waitForFunction(() => document.title === 'Leak done', undefined, { timeout: 90000 * SLOW });
  const out = JSON.parse(await page.textContent('#out'));
  assert.deepEqual(Object.entries(out).filter(([, v]) => v === 'reached'), []);
  assert.ok(Object.keys(out).length >= 10);
  await browser.close();
  const seen = await internet();
  assert.deepEqual(Object.keys(seen.hosts), ['shop.test']);
  assert.equal(seen.datagrams, 0);
  assert.deepEqual(seen.dns.filter((q) => q.name !== 'shop.test'), []);
});

test('the log says what was refused; allow opens it; remove closes it again', { timeout: 240000 * SLOW }, async () => {
  const denied = await until('the refusal in the log', 30000, async () => {
    const log = await a.json('policy', 'shop', 'log', '--denied');
    return log.entries.some((e) => e.name === 'evil.test' && e.verdict === 'deny') && log;
  });
  assert.ok(denied.entries.every((e) => e.verdict === 'deny'));
  assert.ok(refused(await curl('shop', 'https://bank.test/')));
  await a.cli('policy', 'shop', 'allow', 'bank.test');
  assert.deepEqual((await a.json('policy', 'shop', 'show')).rules, ['shop.test', 'bank.test']);
  assert.equal(await curl('shop', 'https://bank.test/'), 200);
  await a.cli('policy', 'shop', 'remove', 'bank.test');
  assert.ok(refused(await curl('shop', 'https://bank.test/')));
  assert.equal(await curl('shop', 'https://shop.test/'), 200);
});

test('a rule taken away cuts the connection it had let through', { timeout: 240000 * SLOW }, async () => {
  await a.cli('policy', 'shop', 'allow', 'bank.test');
  const browser = await chromium.connectOverCDP(await a.cdp('shop'), { timeout: 60000 * SLOW });
  const page = await browser.contexts()[0].newPage();
  page.setDefaultTimeout(60000 * SLOW);
  await page.goto('https://bank.test/socket', { timeout: 45000 * SLOW });
  await page.waitForFunction(() => document.querySelector('#log').textContent.includes('echo: hello'));
  await a.cli('policy', 'shop', 'remove', 'bank.test');
  await page.waitForFunction(() => document.querySelector('#state').textContent !== 'open', undefined, { timeout: 60000 * SLOW });
  await browser.close();
});

test('wildcards and ports mean what they say', { timeout: 240000 * SLOW }, async () => {
  await a.cli('policy', 'shut', 'allow', '*.shop.test', 'shop.test:8443');
  assert.equal(await curl('shut', 'https://www.shop.test/'), 200);
  assert.equal(await curl('shut', 'https://shop.test:8443/'), 200);
  assert.ok(refused(await curl('shut', 'https://shop.test/')));
  assert.ok(refused(await curl('shut', 'https://shop.test.evil.test/')));
  await a.cli('policy', 'shut', 'remove', '*.shop.test', 'shop.test:8443');
  assert.ok(refused(await curl('shut', 'https://www.shop.test/')));
});

test('allowed names that resolve to inner addresses stay shut', { timeout: 240000 * SLOW }, async () => {
  await a.cli('policy', 'shut', 'allow', 'loop.test', 'inside.test', 'metadata.test');
  for (const name of ['loop.test', 'inside.test', 'metadata.test']) assert.ok(refused(await curl('shut', `http://${name}/`)), name);
});

test('the policy holds over a restart, from the first packet', { timeout: 240000 * SLOW }, async () => {
  await a.cli('policy', 'shop', 'allow', 'cdn.test');
  await a.cli('restart', 'shop', { timeout: 180000 * SLOW });
  await until('shop is up', 60000, async () => (await a.show('shop')).browser === 'up');
  assert.deepEqual((await a.json('policy', 'shop', 'show')).rules, ['shop.test', 'cdn.test']);
  assert.equal(await curl('shop', 'https://cdn.test/'), 200);
  await resetInternet();
  assert.ok(refused(await curl('shop', 'https://neighbour.test/')));
  assert.ok(refused(await curl('shop', '--resolve', 'neighbour.test:443:198.51.100.10', 'https://neighbour.test/')));
  assert.deepEqual(Object.keys((await internet()).hosts), []);
});
