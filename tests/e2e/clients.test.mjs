// The main job: unchanged Playwright and Puppeteer drive an agent over two sites, and what they did is still there after
// a stop, a crash and a restart.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

import { Appliance, SLOW, sleep, until } from '../lib/appliance.mjs';
import { loadNotes, playwrightFlow, puppeteerFlow, saveNotes, sha256, signIn, whoAmI } from '../lib/flow.mjs';
import { DOWNLOAD_NAME, SCRIPTS_TEXT } from '../lib/sites.mjs';

const SHOP = 'https://shop.test';
const BANK = 'https://bank.test';
const AT_RISK_MS = 8000; // what a pulled plug takes along at most, of what the flow writes (docs/guest-image.md)
let a;
let token;

before(
  async () => {
    a = await Appliance.start();
    await a.create('one', '--allow', 'shop.test', '--allow', 'bank.test');
    token = (await a.lines('token', 'create', '--role', 'agent', '--agent', 'one')).at(-1);
  },
  { timeout: 200000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

/** A connected Playwright page in the agent's own (persistent) context. */
async function connect(...args) {
  const [url, options] = args;
  const browser = await chromium.connectOverCDP(url, { timeout: 60000 * SLOW, ...options });
  const page = await browser.contexts()[0].newPage();
  page.setDefaultTimeout(45000 * SLOW);
  return { browser, page };
}

/** The bytes of a finished download, fetched out of the guest through the API. */
async function fetchDownload(download) {
  const list = await a.api('GET', '/v1/agents/one/files/Downloads?list=1', undefined, { token });
  assert.equal(list.status, 200, JSON.stringify(list.body));
  const names = JSON.stringify(list.body);
  const wanted = await download.path().then((p) => path.basename(p), () => null);
  const entries = (list.body.entries ?? list.body.files ?? list.body).filter((e) => e.type === 'file' || e.type === 'f');
  const entry = entries.find((e) => e.name === wanted) ?? entries.find((e) => e.name.includes(DOWNLOAD_NAME)) ?? entries.sort((x, y) => (x.mtime < y.mtime ? 1 : -1))[0];
  assert.ok(entry, `no download in ${names}`);
  const file = await a.api('GET', `/v1/agents/one/files/Downloads/${encodeURIComponent(entry.name)}`, undefined, { token });
  assert.equal(file.status, 200);
  return file.raw;
}

test('Playwright by URL: the whole flow over two sites', { timeout: 300000 * SLOW }, async () => {
  const { browser, page } = await connect(`${a.base}/v1/agents/one?token=${token}`);
  await playwrightFlow(page, { base: SHOP, other: BANK, user: 'mara', fetchDownload });
  await page.close();
  await browser.close();
});

test('Playwright by the ws URL that `berth cdp` prints', { timeout: 180000 * SLOW }, async () => {
  const url = await a.cdp('one');
  assert.match(url, /^ws:\/\/127\.0\.0\.1:\d+\/v1\/agents\/one\/cdp\?token=\S+$/);
  const { browser, page } = await connect(url);
  assert.equal(await whoAmI(page, SHOP), 'mara');
  await page.close();
  await browser.close();
});

test('Playwright by URL with a header, and over plain HTTP', { timeout: 180000 * SLOW }, async () => {
  const { browser, page } = await connect(`${a.base}/v1/agents/one`, { headers: { authorization: `Bearer ${token}` } });
  await signIn(page, 'http://shop.test', 'plain');
  await page.close();
  await browser.close();
});

test('a client that closes its browser leaves the agent with its tabs', { timeout: 180000 * SLOW }, async () => {
  const first = await connect(await a.cdp('one'));
  await first.page.goto(`${SHOP}/world`);
  await first.browser.close();
  const second = await connect(await a.cdp('one'));
  const urls = second.browser.contexts()[0].pages().map((p) => p.url());
  assert.ok(urls.includes(`${SHOP}/world`), urls.join(' '));
  for (const p of second.browser.contexts()[0].pages()) if (p !== second.page) await p.close();
  await second.page.goto('about:blank');
  await second.browser.close();
});

test('Puppeteer by browserWSEndpoint, with a file from the guest', { timeout: 120000 * SLOW }, async () => {
  const data = crypto.randomBytes(150000);
  const put = await a.api('PUT', '/v1/agents/one/files/Uploads/photo.raw', data, { token, headers: { 'content-type': 'application/octet-stream' } });
  assert.ok([200, 201, 204].includes(put.status), `${put.status} ${put.raw}`);
  const browser = await puppeteer.connect({ browserWSEndpoint: await a.cdp('one'), defaultViewport: null });
  const page = await browser.newPage();
  page.setDefaultTimeout(45000 * SLOW);
  await puppeteerFlow(browser, page, { base: SHOP, other: BANK, user: 'nora', upload: { path: '/home/agent/Uploads/photo.raw', data } });
  await page.close();
  await browser.disconnect();
});

test('Puppeteer by browserURL through `berth port`, which closes again', { timeout: 120000 * SLOW }, async () => {
  const { port } = await a.json('port', 'one');
  assert.ok(port > 0);
  const browser = await puppeteer.connect({ browserURL: `http://127.0.0.1:${port}`, defaultViewport: null });
  const page = await browser.newPage();
  page.setDefaultTimeout(45000 * SLOW);
  await page.goto(`${SHOP}/world`);
  assert.equal(await page.$eval('#words', (e) => e.textContent), SCRIPTS_TEXT);
  await page.close();
  await browser.disconnect();
  await a.cli('port', 'one', '--close');
  await assert.rejects(fetch(`http://127.0.0.1:${port}/json/version`));
});

test('the screenshot is what Chromium itself captures', { timeout: 180000 * SLOW }, async () => {
  await a.cli('open', 'one', `${SHOP}/world`);
  const file = path.join(a.state, '..', `shot-${process.pid}.png`);
  await a.cli('screenshot', 'one', file);
  const taken = fs.readFileSync(file);
  fs.rmSync(file);
  const browser = await chromium.connectOverCDP(await a.cdp('one'), { timeout: 60000 * SLOW });
  const page = browser.contexts()[0].pages().find((p) => p.url() === `${SHOP}/world`);
  const session = await browser.contexts()[0].newCDPSession(page);
  const own = Buffer.from((await session.send('Page.captureScreenshot', { format: 'png' })).data, 'base64');
  await browser.close();
  assert.equal(taken.subarray(1, 4).toString(), 'PNG');
  assert.ok(taken.length > 5000, `only ${taken.length} bytes`);
  assert.equal(sha256(taken), sha256(own));
});

test('log-in, storage and files hold over stop and start', { timeout: 180000 * SLOW }, async () => {
  let { browser, page } = await connect(await a.cdp('one'));
  await signIn(page, SHOP, 'hanna');
  await saveNotes(page, SHOP);
  await browser.close();
  assert.equal((await a.exec('one', 'sh', '-c', 'echo kept > ~/note')).status, 0);
  await a.cli('stop', 'one', { timeout: 180000 * SLOW });
  assert.equal((await a.show('one')).state, 'stopped');
  await a.cli('start', 'one', { timeout: 150000 * SLOW });
  assert.equal((await a.exec('one', 'cat', 'note')).stdout, 'kept\n');
  ({ browser, page } = await connect(await a.cdp('one')));
  assert.equal(await whoAmI(page, SHOP), 'hanna');
  assert.deepEqual(await loadNotes(page, SHOP), { local: 'saffron', db: 'remember the milk' });
  await browser.close();
});

test('log-in, storage and files hold over kill -9 of QEMU, once they are as old as docs/guest-image.md says', { timeout: 240000 * SLOW }, async () => {
  let { browser, page } = await connect(await a.cdp('one'));
  assert.deepEqual(await loadNotes(page, BANK), { local: 'none', db: 'none' });
  await signIn(page, BANK, 'olga');
  await saveNotes(page, BANK);
  assert.equal((await a.exec('one', 'sh', '-c', 'echo written > ~/note')).status, 0);
  await sleep(AT_RISK_MS * SLOW);
  const agent = await a.show('one');
  const old = (await a.pids(agent)).qemu;
  process.kill(old, 'SIGKILL'); // with the browser open
  await browser.close();
  await until('the agent is back', 120000, async () => {
    const now = await a.show('one');
    return now.state === 'running' && now.browser === 'up' && now.pid !== old && now.restarts > agent.restarts;
  });
  ({ browser, page } = await connect(await a.cdp('one')));
  assert.equal(await whoAmI(page, BANK), 'olga');
  assert.deepEqual(await loadNotes(page, BANK), { local: 'saffron', db: 'remember the milk' });
  assert.equal((await a.exec('one', 'cat', 'note')).stdout, 'written\n');
  await browser.close();
  assert.match(JSON.stringify(await a.json('events')), /agent\.crashed/);
});
