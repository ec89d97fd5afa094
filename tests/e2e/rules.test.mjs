// Every kind of rule, by the command line, in a real guest: denials, networks, other protocols, learning, limits; and what is said of it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Appliance, SLOW, internet, resetInternet, until } from '../lib/appliance.mjs';

let a;
before(
  async () => {
    a = await Appliance.start();
    await a.create('one', '--memory', '512', '--limit', 'connections=64');
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

/** True when the server answered. */
const reaches = async (...args) => (await a.curl('one', '-m', '30', ...args)) === 200;
const why = (host) => a.json('policy', 'one', 'why', host);

test('deny stands above allow, whatever came first', { timeout: 200000 * SLOW }, async () => {
  await a.cli('policy', 'one', 'allow', '*.shop.test', 'shop.test', 'bank.test');
  assert.ok(await reaches('https://www.shop.test/'));
  await a.cli('policy', 'one', 'deny', 'www.shop.test');
  await resetInternet();
  assert.equal(await reaches('https://www.shop.test/'), false);
  assert.equal(await reaches('--resolve', 'www.shop.test:443:203.0.113.10', 'https://www.shop.test/'), false);
  assert.ok(await reaches('https://shop.test/'));
  assert.deepEqual(Object.keys((await internet()).hosts), ['shop.test']);
  const said = await why('www.shop.test');
  assert.equal(said.verdict, 'deny');
  assert.match(said.rule, /^deny www\.shop\.test$/);
  await a.cli('policy', 'one', 'remove', 'deny www.shop.test');
  assert.ok(await reaches('https://www.shop.test/'));
});

test('why names the rule, or the command that would open it', { timeout: 100000 * SLOW }, async () => {
  const open = await why('bank.test');
  assert.deepEqual([open.verdict, open.rule], ['allow', 'bank.test']);
  const shut = await why('evil.test');
  assert.equal(shut.verdict, 'deny');
  assert.match(shut.command, /^berth policy one allow evil\.test/);
  assert.ok(shut.steps.some((s) => !s.ok && s.detail.length > 5), JSON.stringify(shut.steps));
  const text = (await a.cli('policy', 'one', 'why', 'evil.test')).stdout.toString();
  assert.match(text, /berth policy one allow evil\.test/);
});

test('a network and a port of it, and nothing beside', { timeout: 200000 * SLOW }, async () => {
  assert.equal(await reaches('http://203.0.113.10:8080/echo'), false);
  await a.cli('policy', 'one', 'allow', '203.0.113.8/29:8080/tcp');
  assert.ok(await reaches('http://203.0.113.10:8080/echo'));
  await resetInternet();
  assert.equal(await reaches('http://203.0.113.20:8080/echo'), false, 'another network');
  assert.equal(await reaches('http://203.0.113.10:8443/'), false, 'another port');
  assert.deepEqual((await internet()).connections, {});
  for (const [rule, reason] of [
    ['10.0.2.0/24:80/tcp', /does nothing/],
    ['0.0.0.0/0:80/tcp', /--force/],
    ['shop.test:99999/tcp', /port/],
    ['*.com', /anybody can register.*--force/],
  ]) {
    const r = await a.tryCli('policy', 'one', 'allow', rule);
    assert.equal(r.status, 1, rule);
    assert.match(r.stderr, reason);
  }
  await a.cli('policy', 'one', 'remove', '203.0.113.8/29:8080/tcp');
  assert.equal(await reaches('http://203.0.113.10:8080/echo'), false);
});

test('another protocol at a name’s port', { timeout: 200000 * SLOW }, async () => {
  // HTTP stands in for a protocol that nobody looks into: its Host is another name's.
  const odd = ['-H', 'Host: evil.test', 'http://shop.test:8080/echo'];
  await a.cli('policy', 'one', 'allow', 'shop.test:8080');
  assert.equal(await reaches(...odd), false, 'as HTTP, its name is checked');
  await a.cli('policy', 'one', 'remove', 'shop.test:8080');
  await a.cli('policy', 'one', 'allow', 'shop.test:8080/tcp');
  assert.ok(await reaches(...odd), 'as any protocol, it is not looked at');
  assert.equal(await reaches('http://cdn.test:8080/echo'), false);
  await a.cli('policy', 'one', 'remove', 'shop.test:8080/tcp');
});

test('learning: all is let through and listed; suggest makes rules of it', { timeout: 240000 * SLOW }, async () => {
  await a.cli('policy', 'one', 'deny', 'evil.test');
  await a.cli('policy', 'one', 'mode', 'learn');
  assert.equal((await a.json('policy', 'one', 'show')).mode, 'learn');
  assert.ok(await reaches('https://cdn.test/'));
  assert.ok(await reaches('https://dual.test/'));
  await resetInternet();
  assert.equal(await reaches('https://evil.test/'), false, 'a denial holds');
  assert.equal(await reaches('http://metadata.test/'), false, 'inner addresses stay shut');
  assert.deepEqual(Object.keys((await internet()).hosts), []);
  const rules = await until('the suggestions', 20000, async () => {
    const { suggestions } = await a.json('policy', 'one', 'suggest');
    const found = suggestions.map((s) => s.rule);
    return found.some((r) => r.startsWith('cdn.test')) && found.some((r) => r.startsWith('dual.test')) && found;
  });
  assert.ok(!rules.some((r) => /evil/.test(r)), rules.join(' '));
  const learnt = (await a.json('policy', 'one', 'log')).entries.filter((e) => e.verdict === 'learn').map((e) => e.name);
  assert.ok(learnt.includes('cdn.test') && learnt.includes('dual.test'), learnt.join(' '));
  await a.cli('policy', 'one', 'allow', ...rules);
  await a.cli('policy', 'one', 'mode', 'enforce');
  assert.ok(await reaches('https://cdn.test/'), 'what was suggested is enough');
  assert.ok(await reaches('https://dual.test/'));
  assert.equal(await reaches('https://neighbour.test/'), false, 'and what was not asked for is shut again');
});

test('a number of bytes that is used up: refused, told, and open again without the limit', { timeout: 200000 * SLOW }, async () => {
  await a.cli('policy', 'one', 'limit', 'bytes_per_run=200K');
  assert.ok(await reaches('https://shop.test/'));
  await a.exec('one', 'sh', '-c', 'for i in 1 2 3 4 5 6; do head -c 60000 /dev/zero | curl -sS -k -m 20 -o /dev/null --data-binary @- https://shop.test/echo; done; true');
  await until('the event', 20000, async () => (await a.json('log', 'one')).events.some((e) => e.type === 'egress.limit'));
  assert.equal(await reaches('https://shop.test/'), false);
  const said = await why('shop.test');
  assert.equal(said.verdict, 'deny');
  assert.match(said.steps.at(-1).detail, /bytes_per_run is used up/);
  assert.equal(said.command, 'berth policy one limit bytes_per_run=none');
  await a.cli('policy', 'one', 'limit', 'bytes_per_run=none');
  await until('it is open again', 20000, () => reaches('https://shop.test/'));
});
