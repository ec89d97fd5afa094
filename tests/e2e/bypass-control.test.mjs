// Without a policy every attempt of bypass.test.mjs gets to where it goes, and is counted: so that one can see it fail there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import readline from 'node:readline';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { SLOW, internet, resetInternet, until } from '../lib/appliance.mjs';
import { NAVIGATIONS, SCRIPT, attempts, startListeners } from '../lib/bypass.mjs';
import { LEAKS } from '../lib/leaks.mjs';
import { HOST_ADDRESS, ROUTER_ADDRESS } from '../lib/names.mjs';
import { seen } from '../lib/seen.mjs';

// What a browser may leave out as it sees fit: hints, and candidates that it does not like. Tried, but not to be relied on.
const HINTS = ['preconnect', 'dns-prefetch', 'ice-candidate'];
const native = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find((f) => fs.existsSync(f));
let listeners;
before(async () => {
  listeners = await startListeners();
});
after(() => listeners?.close());

/** All that was counted by now, by the internet and by the host's own listeners. */
const counts = async () => ({ ...(await internet()), listeners: { ...listeners.counts } });
const of = (all, key) => (key.startsWith('listener ') ? all.listeners[key.slice(9)] : seen(all, key));
const count = async (key) => of(await counts(), key);

test('every attempt of the guest, made here, arrives', { timeout: 240000 * SLOW }, async () => {
  const all = attempts();
  const child = spawn('python3', [SCRIPT, 'uplink', HOST_ADDRESS, ROUTER_ADDRESS], { env: { ...process.env, STEP: '1' }, stdio: ['pipe', 'pipe', 'inherit'] });
  const lost = [];
  let now = await counts();
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  for (const { name, counted } of all) {
    const { value } = await lines.next();
    assert.ok(value?.startsWith(`${name}\t`), `attempts.py ended before: ${name}`);
    const begun = now;
    const arrived = counted
      ? await until(name, 3000, async () => of((now = await counts()), counted) > of(begun, counted), 20).catch(() => false)
      : value.includes('\treached\t');
    if (!arrived) lost.push(`${value} (${counted})`);
    child.stdin.write('\n');
  }
  assert.deepEqual(lost, []);
});

test('every attempt of the page, made by a browser of this machine, arrives', { timeout: 240000 * SLOW, skip: native ? false : 'no Chromium on this host' }, async (t) => {
  await resetInternet();
  const browser = await chromium.launch({ executablePath: native, ignoreDefaultArgs: ['--disable-background-networking'], args: ['--no-sandbox', '--ignore-certificate-errors'] });
  const missing = async (hints = false) => {
    const now = await counts();
    return Object.entries(LEAKS).flatMap(([way, key]) => (HINTS.includes(way) !== hints || of(now, key) > 0 ? [] : `${way} (${key})`));
  };
  try {
    let page;
    // A busy browser may be late, or leave something out: the page is loaded again then.
    for (let i = 0; i < 4 && (await missing()).length; i++) {
      page = await browser.newPage();
      await page.goto('https://shop.test/leaks');
      await page.waitForFunction(() => document.title === 'Leaks done', undefined, { timeout: 60000 * SLOW });
      await until('all of it', 10000, async () => !(await missing()).length).catch(() => {});
    }
    assert.deepEqual(await missing(), [], await page.textContent('#out'));
    for (const way of await missing(true)) t.diagnostic(`left out by this browser: ${way}`);
    for (const [url, key] of Object.entries(NAVIGATIONS)) {
      const begun = await count(key);
      await page.goto(url).catch(() => {});
      assert.ok((await count(key)) > begun, url);
    }
  } finally {
    await browser.close();
  }
});
