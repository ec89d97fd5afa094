// The ways around a list of allowed names, from inside a real guest as root and from its browser. Every forbidden end of
// them would answer, and counts; all counts stay zero. bypass-control.test.mjs shows that each attempt arrives without a policy.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, internet, resetInternet, until } from '../lib/appliance.mjs';
import { FOLDER, NAVIGATIONS, attempts, startListeners } from '../lib/bypass.mjs';
import { LEAKS } from '../lib/leaks.mjs';
import { others, seen } from '../lib/seen.mjs';

// Allowed by name, and their addresses are nobody's business.
const LYING = ['ten.test', 'twelve.test', 'lan.test', 'carrier.test', 'metadata.test', 'chain.test', 'inside.test', 'sixtofour.test', 'benchmark.test', 'loop.test'];
const NAMES = ['shop.test', 'cdn.test', 'raw.test', 'late.test', 'svc.test', 'quick.test', 'mixed.test', 'rebind.test', 'self.test', ...LYING];
// What may be on the wire of it: the appliance's questions, and connections to what is really allowed.
const WIRE = ['udp 203.0.113.53:53', ...['203.0.113.10', '203.0.113.33', '203.0.113.39', '198.51.100.10'].flatMap((a) => [`tcp ${a}:80`, `tcp ${a}:443`])];
let a;
let listeners;

before(
  async () => {
    listeners = await startListeners();
    a = await Appliance.start();
    await a.create('one', '--memory', '768', '--disk', '2', ...[...NAMES, '*.wild.test'].flatMap((n) => ['--allow', n]));
    await a.cli('cp', FOLDER, 'one:tools');
    // Held from here on, until its pin is long gone.
    await root('one', 'setsid /home/agent/tools/hold.py quick.test >/dev/null 2>&1 &');
  },
  { timeout: 300000 * SLOW },
);
after(
  async () => {
    listeners?.close();
    await a?.destroy();
  },
  { timeout: 180000 * SLOW },
);

/** A line for the guest's shell, as its root. */
async function root(name, line, timeout = 120000) {
  const r = await a.tryCli('exec', '-u', 'root', name, '--', 'sh', '-c', line, { timeout });
  assert.equal(r.status, 0, `${line}: ${r.status} ${r.stdout} ${r.stderr}`);
  return r.stdout.toString();
}

/** Something that is allowed, asked for last, has arrived: so has whatever was sent before it. */
async function arrived(name = 'one') {
  const mark = `/mark-${Math.random()}`;
  await root(name, `curl -sS -m 20 -o /dev/null http://shop.test${mark}`);
  await until(mark, 10000, async () => (await internet()).hosts['shop.test']?.paths.includes(`GET ${mark}`), 50);
}

/** Nothing arrived but what these names and packets account for. */
async function nothingElse(names = NAMES, wire = WIRE) {
  const stats = await internet();
  assert.deepEqual(others(stats, { names, wire }), []);
  assert.deepEqual(listeners.counts, { loopback: 0, host: 0 });
  return stats;
}

test('every attempt of the guest is refused, and nothing of it arrives', { timeout: 240000 * SLOW }, async () => {
  await resetInternet();
  const all = attempts();
  assert.ok(all.length >= 60);
  const lines = (await root('one', 'cd /home/agent/tools && python3 attempts.py eth0 10.0.2.15 10.0.2.2', 200000)).trimEnd().split('\n');
  await arrived();
  const stats = await nothingElse();
  assert.deepEqual(lines.map((l) => l.split('\t')[0]), all.map((x) => x.name));
  assert.deepEqual(lines.filter((l) => !l.includes('\trefused\t')), []);
  assert.deepEqual(all.filter(({ counted }) => counted && seen(stats, counted)).map((x) => x.name), []);
});

test('every attempt of a page is refused, and nothing of it arrives', { timeout: 180000 * SLOW }, async () => {
  await resetInternet();
  const browser = await chromium.connectOverCDP(await a.cdp('one'), { timeout: 60000 * SLOW });
  const page = await browser.contexts()[0].newPage();
  await page.goto('https://shop.test/leaks', { timeout: 60000 * SLOW });
  await page.waitForFunction(() => document.title === 'Leaks done', undefined, { timeout: 90000 * SLOW });
  const out = JSON.parse(await page.textContent('#out'));
  assert.deepEqual(Object.keys(out).sort(), Object.keys(LEAKS).sort());
  assert.deepEqual(Object.entries(out).filter(([, what]) => what === 'reached'), []);
  for (const url of Object.keys(NAVIGATIONS)) {
    const answer = await page.goto(url, { timeout: 20000 * SLOW }).catch(() => null);
    assert.ok(!answer || answer.status() === 403, `${url}: ${answer?.status()}`);
  }
  await browser.close();
  await arrived();
  const stats = await nothingElse();
  assert.deepEqual(Object.entries(LEAKS).filter(([, key]) => seen(stats, key)), []);
});

test('fronting: inside TLS to an allowed name another one can be asked for; that name must share the server', { timeout: 60000 * SLOW }, async () => {
  await resetInternet();
  await root('one', "curl -sSk -m 20 -o /dev/null -H 'Host: bank.test' https://shop.test/");
  const { hosts, wire } = await internet();
  assert.deepEqual(hosts['bank.test']?.sni, ['shop.test'], 'the server of shop.test was asked for bank.test');
  assert.ok(!wire['tcp 203.0.113.20:443'], 'the server of bank.test was not');
});

const held = async (name) => (await root('one', `cat /tmp/hold.${name}`)).trim();

test('stricter rules end the connection they no longer allow', { timeout: 90000 * SLOW }, async () => {
  await a.cli('policy', 'one', 'allow', 'bank.test');
  await root('one', 'setsid /home/agent/tools/hold.py bank.test >/dev/null 2>&1 &');
  await until('a connection to bank.test', 30000, async () => /^alive/.test(await held('bank.test')));
  await a.cli('policy', 'one', 'remove', 'bank.test');
  await until('its end', 30000, async () => /^ended \d+ /.test(await held('bank.test')));
});

test('a connection outlives its pin', { timeout: 120000 * SLOW }, async () => {
  const count = async () => Number(/^alive (\d+)$/.exec(await held('quick.test'))?.[1]);
  const { qemu } = await a.pids(await a.show('one'));
  const pinned = () => execFileSync('nsenter', [`--net=/proc/${qemu}/ns/net`, 'nft', 'list', 'set', 'inet', 'berth', 'pins'], { encoding: 'utf8' }).includes('203.0.113.33 ');
  await until('the pin to end', 90000, () => !pinned());
  const n = await count();
  await until('the connection to go on', 30000, async () => (await count()) > n);
});

const pestered = async (name) => Number(await root(name, 'cat /tmp/pester'));

/** The guest goes on trying: some rounds later than now. */
async function moreRounds(name, rounds = 3) {
  const from = await pestered(name);
  await until(`${rounds} more rounds`, 60000, async () => (await pestered(name)) >= from + rounds);
  await arrived(name);
}

const SHUT = ['shop.test'];

test('a guest that tries all the time gets nowhere when it wakes under stricter rules', { timeout: 180000 * SLOW }, async () => {
  await a.cli('policy', 'one', 'allow', 'bank.test');
  await root('one', 'cd /home/agent/tools && (setsid python3 pester.py >/dev/null 2>&1 &)');
  await until('bank.test to be reached', 60000, async () => seen(await internet(), 'tls bank.test') > 0);
  await a.cli('snapshot', 'one', '--tag', 'open');
  await a.cli('suspend', 'one');
  await a.cli('policy', 'one', 'remove', 'bank.test');
  await resetInternet();
  await a.cli('resume', 'one');
  await moreRounds('one');
  await nothingElse();
});

test('… nor when it is put back to when it was allowed', { timeout: 180000 * SLOW }, async () => {
  await resetInternet();
  await a.cli('restore', 'one', 'open', { timeout: 120000 * SLOW });
  await moreRounds('one');
  await nothingElse();
});

test('… nor as somebody else with other rules', { timeout: 180000 * SLOW }, async () => {
  await a.cli('suspend', 'one');
  await resetInternet();
  await a.cli('create', 'two', '--from', 'open', '--allow', 'shop.test', { timeout: 120000 * SLOW });
  await moreRounds('two');
  await nothingElse(SHUT, ['udp 203.0.113.53:53', 'tcp 203.0.113.10:80']);
  await a.cli('rm', 'two');
  await a.cli('resume', 'one');
});

test('… nor while berth-policy is gone; it comes back by itself', { timeout: 120000 * SLOW }, async () => {
  const one = await a.show('one');
  const { policy } = await a.pids(one);
  const from = await pestered('one');
  await resetInternet();
  process.kill(policy, 'SIGKILL');
  await until('another berth-policy', 30000, async () => (await a.pids(one)).policy !== policy);
  await until('the guest to have tried', 60000, async () => (await pestered('one')) > from + 2);
  await until('shop.test again', 60000, () => arrived().then(() => true));
  await nothingElse();
});
