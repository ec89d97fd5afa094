// What is allowed works: everything that people do on the web, by a real guest's tools and its browser.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, internet, resetInternet, until } from '../lib/appliance.mjs';
import { LONG_BYTES, PARTS, PUBLIC, longDigest } from '../lib/goods.mjs';
import { debianRepository, npmRegistry } from '../lib/mirrors.mjs';
import { seen } from '../lib/seen.mjs';

const RULES = ['shop.test:80,443,8443', 'cdn.test', 'alias.test', 'dual.test', 'quick.test', 'round.test', 'deb.test', 'npm.test'];
const NPM = new URL('node_modules/npm', import.meta.url).pathname;
let a;

before(
  async () => {
    for (const d of ['debian', 'npm']) fs.mkdirSync(path.join(PUBLIC, d), { recursive: true });
    debianRepository(path.join(PUBLIC, 'debian'), 'berth-hello');
    npmRegistry(path.join(PUBLIC, 'npm'), 'https://npm.test/pub/npm', 'berth-hello');
    a = await Appliance.start();
    await a.create('one', '--memory', '768', '--disk', '2', ...RULES.flatMap((r) => ['--allow', r]));
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

/** A line for the guest's shell: what it prints. */
async function shell(line, { user = 'agent', timeout = 120000 } = {}) {
  const r = await a.tryCli('exec', '-u', user, 'one', '--', 'sh', '-c', line, { timeout });
  assert.equal(r.status, 0, `${line}: ${r.status} ${r.stdout} ${r.stderr}`);
  return r.stdout.toString().trim();
}
const status = (url, ...options) => shell(`curl -sS -m 30 -o /dev/null -w '%{http_code} %{http_version}' ${options.join(' ')} '${url}'`);

async function inPage(url, fn) {
  const browser = await chromium.connectOverCDP(await a.cdp('one'), { timeout: 60000 * SLOW });
  try {
    const page = await browser.contexts()[0].newPage();
    page.setDefaultTimeout(60000 * SLOW);
    await page.goto(url);
    return await fn(page);
  } finally {
    await browser.close();
  }
}

/** The page's parts are all there; which protocols brought them. */
async function allParts(page) {
  await page.waitForFunction(() => document.title === 'All parts').catch(async (e) => assert.fail(`${await page.evaluate(() => window.there)} of ${PARTS} parts: ${e.message}`));
  return page.evaluate(() => ({
    colour: getComputedStyle(document.body).color,
    protocols: [...new Set([...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].map((e) => e.nextHopProtocol))],
  }));
}

test(`a page of ${PARTS} parts, over HTTP/1.1 and HTTP/2, by the browser`, { timeout: 180000 * SLOW }, async () => {
  for (const [site, protocol] of [['https://shop.test', 'http/1.1'], ['https://shop.test:8443', 'h2']])
    assert.deepEqual(await inPage(`${site}/parts`, allParts), { colour: 'rgb(1, 2, 3)', protocols: [protocol] }, site);
});

test('HTTP/1.1 and HTTP/2 by curl', { timeout: 60000 * SLOW }, async () => {
  assert.equal(await status('https://shop.test/'), '200 1.1');
  assert.equal(await status('https://shop.test:8443/'), '200 2');
  assert.equal(await status('http://shop.test/'), '200 1.1');
});

test('a WebSocket', { timeout: 90000 * SLOW }, () =>
  inPage('https://shop.test/socket', (page) => page.waitForFunction(() => /echo: hello[^]*long 70006/.test(document.querySelector('#log').textContent))));

test(`a download of ${LONG_BYTES >> 20} MiB, which is the same there`, { timeout: 120000 * SLOW }, async () => {
  assert.equal((await shell('curl -sS -m 100 http://shop.test/long | sha256sum')).split(' ')[0], longDigest());
});

test('100 requests at once', { timeout: 120000 * SLOW }, async () => {
  await resetInternet();
  const codes = await shell("curl -sS -m 100 --no-progress-meter -Z --parallel-immediate --parallel-max 100 -w '%{http_code}\\n' -o /dev/null 'http://shop.test/slow?[1-100]'");
  assert.deepEqual(codes.split('\n'), Array(100).fill('200'));
  const { hosts, connections } = await internet();
  assert.equal(hosts['shop.test'].requests, 100);
  assert.ok(connections['203.0.113.10:80'] >= 50, `${connections['203.0.113.10:80']} connections`);
});

test('a name that also has IPv6 addresses is reached by IPv4 at once', { timeout: 90000 * SLOW }, async () => {
  assert.equal(await status('https://dual.test/'), '200 1.1');
  assert.match(await shell('getent ahosts dual.test'), /^203\.0\.113\.32\s/);
  assert.doesNotMatch(await shell('getent ahosts dual.test'), /:/);
  assert.match(await inPage('https://dual.test/', (page) => page.title()), /Welcome to dual/);
  assert.equal(seen(await internet(), 'ipv6 2001:db8::32'), 0);
});

test('an answer that holds for a second is asked for again', { timeout: 60000 * SLOW }, async () => {
  await resetInternet();
  assert.equal(await status('http://quick.test/'), '200 1.1');
  await until('another question', 30000, async () => {
    assert.equal(await status('http://quick.test/'), '200 1.1');
    return seen(await internet(), 'dns quick.test') >= 2;
  });
});

test('a name whose address changes with every answer is reached at each', { timeout: 90000 * SLOW }, async () => {
  await resetInternet();
  await until('all three addresses', 60000, async () => {
    assert.equal(await status('http://round.test/'), '200 1.1');
    const stats = await internet();
    return ['203.0.113.34', '203.0.113.35', '203.0.113.36'].every((address) => seen(stats, `tcp ${address}:80`));
  });
});

test('an alias; a name that shares its address with a forbidden one', { timeout: 60000 * SLOW }, async () => {
  await resetInternet();
  assert.equal(await status('https://alias.test/', '-k'), '200 1.1');
  assert.equal(await status('https://cdn.test/'), '200 1.1');
  const r = await a.exec('one', 'curl', '-sS', '-m', '8', '--resolve', 'neighbour.test:443:198.51.100.10', 'https://neighbour.test/');
  assert.notEqual(r.status, 0);
  assert.equal(await status('https://cdn.test/'), '200 1.1');
  const stats = await internet();
  assert.deepEqual(Object.keys(stats.hosts).sort(), ['alias.test', 'cdn.test']);
  assert.equal(seen(stats, 'tls neighbour.test'), 0);
});

test('apt-get install from an allowed mirror', { timeout: 120000 * SLOW }, async () => {
  await shell("echo 'deb [trusted=yes] https://deb.test/pub/debian ./' >/tmp/test.list", { user: 'root' });
  const apt = 'apt-get -qq -o Dir::Etc::SourceList=/tmp/test.list -o Dir::Etc::SourceParts=- -o Acquire::Languages=none';
  await shell(`${apt} update && ${apt} install -y berth-hello`, { user: 'root', timeout: 100000 });
  assert.equal(await shell('berth-hello'), 'hello from a package');
});

test('npm install from an allowed registry', { timeout: 180000 * SLOW }, async () => {
  const archive = path.join(PUBLIC, 'npm.tar');
  execFileSync('tar', ['-cf', archive, '-C', path.dirname(NPM), '--exclude=man', '--exclude=docs', 'npm']);
  await shell(`curl -sS https://npm.test/pub/npm.tar | tar -x`);
  await shell(
    'mkdir -p work && cd work && node ../npm/bin/npm-cli.js install --registry https://npm.test/pub/npm --cafile /etc/ssl/certs/ca-certificates.crt --no-audit --no-fund --no-update-notifier berth-hello',
    { timeout: 150000 },
  );
  assert.equal(await shell("cd work && node -p \"require('berth-hello')()\""), 'hello from a package');
});
