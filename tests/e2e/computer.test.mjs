// Computer use in a real guest: each vendor's model signs in by what it sees, over sleep, a killed browser and a fork.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { chromium } from 'playwright-core';

import { Appliance, SLOW, until } from '../lib/appliance.mjs';
import { PASSWORD } from '../lib/sites.mjs';

const SHOP = 'https://shop.test';
let a;
before(
  async () => {
    a = await Appliance.start();
    await a.create('one', '--allow', 'shop.test');
  },
  { timeout: 300000 * SLOW },
);
after(() => a?.destroy(), { timeout: 180000 * SLOW });

async function computer(name, body, query = '') {
  const r = await a.api('POST', `/v1/agents/${name}/computer${query}`, body);
  assert.equal(r.status, 200, JSON.stringify(r.body).slice(0, 500));
  return r.body;
}

/** Width and height of a PNG in base64. */
function size(base64) {
  const png = Buffer.from(base64, 'base64');
  assert.equal(png.toString('latin1', 1, 4), 'PNG');
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}

/** What a person would point at: the middle of an element, in the page's pixels. */
async function middle(page, selector) {
  const box = await page.locator(selector).boundingBox();
  return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)];
}

async function driven(name, fn) {
  const browser = await chromium.connectOverCDP(await a.cdp(name), { timeout: 60000 * SLOW });
  try {
    const page = browser.contexts()[0].pages()[0];
    page.setDefaultTimeout(60000 * SLOW);
    return await fn(page);
  } finally {
    await browser.close();
  }
}

const account = (name) => driven(name, async (page) => {
  await page.waitForURL(`${SHOP}/account`);
  return page.textContent('#who');
});
const places = (name) => driven(name, async (page) => {
  await page.goto(`${SHOP}/login`);
  return { user: await middle(page, '#user'), password: await middle(page, '#password'), go: await middle(page, '#go') };
});

test('Anthropic: one action at a time', { timeout: 300000 * SLOW }, async () => {
  const at = await places('one');
  const act = async (input) => {
    const r = await computer('one', { type: 'tool_use', id: 'toolu_1', name: 'computer', input });
    assert.equal(r.tool_use_id, 'toolu_1');
    assert.ok(!r.is_error, JSON.stringify(r.content.filter((c) => c.type === 'text')));
    return r.content;
  };
  const [picture] = (await act({ action: 'screenshot' })).filter((c) => c.type === 'image');
  assert.deepEqual(size(picture.source.data), [1280, 800]);
  await act({ action: 'left_click', coordinate: at.user });
  await act({ action: 'type', text: 'ada' });
  await act({ action: 'key', text: 'Tab' });
  await act({ action: 'type', text: PASSWORD });
  await act({ action: 'key', text: 'Return' });
  assert.equal(await account('one'), 'ada');
  const log = await a.json('log', 'one');
  assert.deepEqual(log.actions.map((e) => [e.source, e.action, e.ok]), ['screenshot', 'click', 'type', 'key', 'type', 'key'].map((n) => ['computer/anthropic', n, true]));
  assert.deepEqual(log.actions.slice(4).map((e) => e.params), [{ text_length: PASSWORD.length }, { keys: 'Enter' }]);
  assert.ok(log.actions.every((e) => e.url.startsWith(`${SHOP}/`) && e.duration_ms >= 0 && e.time) && log.events.length > 0);
  assert.ok(!JSON.stringify(log).includes(PASSWORD));
  assert.match((await a.cli('log', 'one')).stdout.toString(), /\n\S+ +type +one  text_length=\d+/);
});

test('OpenAI: a list of actions, the agent asleep before', { timeout: 300000 * SLOW }, async () => {
  const at = await places('one');
  await a.cli('suspend', 'one');
  const point = ([x, y]) => ({ x, y });
  const r = await computer('one', {
    type: 'computer_call',
    call_id: 'call_1',
    pending_safety_checks: [],
    actions: [
      { type: 'click', button: 'left', ...point(at.user) },
      { type: 'type', text: 'grace' },
      { type: 'click', button: 'left', ...point(at.password) },
      { type: 'type', text: PASSWORD },
      { type: 'click', button: 'left', ...point(at.go) },
    ],
  });
  assert.equal(r.call_id, 'call_1');
  assert.deepEqual(size(r.output.image_url.split(',')[1]), [1280, 800]);
  assert.equal(await account('one'), 'grace');
});

test('Gemini: in a fork, the browser killed before', { timeout: 400000 * SLOW }, async () => {
  await a.cli('fork', 'one', 'two', { timeout: 120000 });
  const killed = await a.exec('two', 'sh', '-c', 'kill -9 $(pgrep -o chromium)');
  assert.equal(killed.status, 0, killed.stderr);
  await until('the browser is back', 120000, async () => {
    const { browser, state } = await a.show('two');
    return state === 'running' && browser === 'up';
  });
  const at = await places('two');
  const point = ([x, y]) => ({ x: Math.round((x * 1000) / 1280), y: Math.round((y * 1000) / 800) });
  const call = async (name, args) => {
    const part = await computer('two', { functionCall: { name, args } });
    assert.equal(part.functionResponse.response.error, undefined);
    return part.functionResponse;
  };
  await call('type_text_at', { ...point(at.user), text: 'alan', press_enter: false });
  const last = await call('type_text_at', { ...point(at.password), text: PASSWORD, press_enter: true });
  assert.match(last.response.url, /^https:\/\/shop\.test\//);
  assert.equal(await account('two'), 'alan');
  // Its log is its own.
  assert.deepEqual([...new Set((await a.json('log', 'two')).actions.map((e) => e.source))], ['computer/gemini']);
  // The cookie of the fork is the fork's.
  assert.equal(await driven('one', (page) => page.goto(`${SHOP}/account`).then(() => page.textContent('#who'))), 'grace');
});
