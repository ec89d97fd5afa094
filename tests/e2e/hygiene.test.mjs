// What no two forks of one template may share, and the clock. BERTH_CHECK_LONG=1: 50 forks instead of 8.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, internet, resetInternet } from '../lib/appliance.mjs';

const FORKS = process.env.BERTH_CHECK_LONG === '1' ? 50 : 8;
const CLOCK_MS = 3000; // a few on an idle machine; a clock that nobody set is wrong by the template's age, and that is more
const SITE = 'https://shop.test/';
const SHAPE = ['--memory', '768', '--disk', '2'];
let a;

before(
  async () => {
    a = await Appliance.start();
    // The first one waits for the template, which all others begin from.
    await a.create('first', ...SHAPE);
    await a.cli('rm', 'first');
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 240000 * SLOW });

/** What a page that was open in the template says when it is asked for the first time; `off`: by how many ms its clock is wrong at least. */
async function askPage(name) {
  const browser = await chromium.connectOverCDP(await a.cdp(name), { timeout: 60000 * SLOW });
  try {
    const page = browser.contexts()[0].pages()[0];
    assert.ok(page, `${name} has the template's page`);
    const before = Date.now();
    const said = await page.evaluate(() => ({
      now: Date.now(),
      random: [...crypto.getRandomValues(new Uint8Array(16))].join(),
      openedAt: performance.timeOrigin,
      math: Math.random(),
    }));
    const off = Math.max(before - said.now, said.now - Date.now(), 0);
    await page.goto(SITE); // a TLS handshake of the network service that was in the template
    const uuid = await page.evaluate(() => crypto.randomUUID()); // only pages from a safe origin have it
    return { ...said, uuid, off };
  } finally {
    await browser.close();
  }
}

async function askSystem(name) {
  const r = await a.exec(name, 'sh', '-c', `hostname; cat /etc/machine-id /proc/sys/kernel/random/uuid; head -c 16 /dev/urandom | od -An -tx1; cat /proc/sys/kernel/random/boot_id; curl -so /dev/null ${SITE}`);
  assert.equal(r.status, 0, r.stderr);
  const [hostname, machineId, kernelUuid, urandom, bootId] = r.stdout.trim().split('\n');
  return { hostname, machineId, kernelUuid, urandom, bootId };
}

test(`${FORKS} forks of one template share nothing that must be their own, and know what time it is`, { timeout: FORKS * 60000 * SLOW }, async (t) => {
  const forks = [];
  await resetInternet();
  for (let i = 0; i < FORKS; i++) {
    const name = `fork-${i}`;
    await a.create(name, '--allow', 'shop.test', ...SHAPE);
    const one = { name, ...(await askPage(name)), ...(await askSystem(name)) };
    assert.ok(one.off <= CLOCK_MS * SLOW, `${name}: its clock is off by ${one.off} ms`);
    assert.equal(one.hostname, name);
    forks.push(one);
    await a.cli('rm', name, { timeout: 60000 });
  }
  const different = (what) => new Set(forks.map((f) => f[what])).size;
  assert.equal(different('openedAt'), 1, `the page was loaded once, in the template\n${a.logs()}`);
  for (const what of ['uuid', 'random', 'hostname', 'machineId', 'kernelUuid', 'urandom']) {
    assert.ok(forks.every((f) => f[what]), `every fork has a value for ${what}`);
    assert.equal(different(what), FORKS, `${what} differs in all: ${forks.map((f) => f[what])}`);
  }
  const { randoms } = await internet();
  assert.ok(randoms.length >= 2 * FORKS, `the browser's and curl's handshakes were seen: ${randoms.length}`);
  assert.equal(new Set(randoms).size, randoms.length, 'no two TLS clients sent the same random');
  t.diagnostic(`clocks off by ${forks.map((f) => f.off)} ms; different boot ids ${different('bootId')}, Math.random() of the open page ${different('math')}`);
});
