// The action log: what both front ends report of real actions, and that it holds nothing secret.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, test } from 'node:test';
import { noChromium } from '../gateway/chromium.mjs';
import { sleep, until } from '../gateway/lib.mjs';
import { Stage, servePages } from './recorder.mjs';

const SECRET = 'hunter2-hunter2';
const pages = {
  '/': `<title>Sign in</title><style>body{margin:0}</style><form action=/in><input id=user style="position:absolute;left:0;top:0;width:200px;height:40px">
<input type=password name=pw aria-label=Password style="position:absolute;left:0;top:50px;width:200px;height:40px"><button>Go</button></form>`,
  '/in': '<title>In</title>',
};

describe('the action log', { skip: noChromium }, () => {
  const stage = new Stage();
  let w, url, seq = 0;

  const post = async (json, query = '') => (await w.request('POST', `/v1/agents/demo/computer${query}`, { json })).json;
  const call = async (name, args = {}) => (await w.request('POST', '/v1/agents/demo/mcp', { json: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } },
    headers: { 'mcp-protocol-version': '2025-11-25' }, token: 'agent-token' })).json.result;
  // What was reported since the last call.
  const log = async () => {
    const { entries } = (await w.get(`/v1/agents/demo/log?limit=500&after=${seq}`)).json;
    seq = entries.at(-1)?.seq ?? seq;
    assert.ok(!JSON.stringify(entries).includes('hunter2'), JSON.stringify(entries));
    return entries;
  };
  const short = (list) => list.map((e) => [e.source, e.action, e.params]);

  before(async () => {
    ({ w, site: { url } } = await stage.start(servePages(pages)));
  });
  after(() => stage.stop());

  test('computer use: each vendor, in order, with time, page and duration', async () => {
    const from = Date.now() * 1000;
    await post({ functionCall: { name: 'navigate', args: { url: `${url}/?token=${SECRET}#x` } } });
    await post({ action: 'left_click', coordinate: [100, 20] });
    await post({ action: 'type', text: SECRET });
    await post({ action: 'key', text: 'h' });
    await post({ type: 'computer_call', call_id: 'c', actions: [{ type: 'wait' }, { type: 'screenshot' }] });
    const list = await log();
    assert.deepEqual(short(list), [
      ['computer/gemini', 'navigate', { url: `${url}/` }],
      ['computer/anthropic', 'click', { at: [100, 20], button: 'left' }],
      ['computer/anthropic', 'type', { text_length: SECRET.length }],
      ['computer/anthropic', 'key', { keys: '(a character)' }],
      ['computer/openai', 'wait', { ms: list[4].params.ms }],
      ['computer/openai', 'look', {}],
    ]);
    for (const e of list) assert.deepEqual([e.agent, e.by, e.error, e.url], ['demo', 'tok_admin-token', undefined, `${url}/`]);
    assert.ok(list.every((e, i) => e.time > (i ? list[i - 1].time : from)), JSON.stringify(list.map((e) => e.time)));
    assert.ok(list[4].duration_ms >= list[4].params.ms && list[4].duration_ms < 60000, String(list[4].duration_ms));
  });

  test('MCP: the tool, the canonical action, and not what it looks at afterwards', async () => {
    await call('browser_navigate', { url });
    const text = (await call('browser_snapshot')).content[0].text;
    const ref = /textbox "Password".*?\[ref=(e\d+)\]/.exec(text)[1];
    await call('browser_type', { ref, text: SECRET, submit: true });
    await call('browser_evaluate', { function: `() => { throw new Error('${SECRET}') }` });
    await call('computer', { action: 'left_click', coordinate: [5, 5] });
    const list = await log();
    assert.deepEqual(short(list), [
      ['mcp/browser_navigate', 'navigate', { url }],
      ['mcp/browser_snapshot', 'snapshot', {}],
      ['mcp/browser_type', 'type', { ref, text_length: SECRET.length, clear_first: true, press_enter: true }],
      ['mcp/browser_evaluate', 'evaluate', { function_length: list[3].params.function_length }],
      ['mcp/computer', 'click', { at: [5, 5], button: 'left' }],
    ]);
    assert.deepEqual(list.map((e) => e.error), [undefined, undefined, undefined, 'The function failed', undefined]);
    assert.deepEqual([list[4].by, list[4].url], ['tok_agent-token', `${url}/in`]);
  });

  test('pictures: what the model saw, and what came of it, small', async () => {
    const entries = async () => (await w.get(`/v1/agents/demo/log?after=${seq}`)).json.entries;
    const picture = (e, which) => w.get(`/v1/agents/demo/log/${e.seq}/picture?which=${which}`, { token: 'viewer-token' });
    const there = (e, which) => until(`the picture ${which}`, async () => { const r = await picture(e, which); return r.status === 200 && r; });
    await post({ action: 'screenshot' });
    const [shot] = await entries();
    const seen = await there(shot, 'after');
    assert.equal((await picture(shot, 'before')).status, 404);
    await post({ action: 'left_click', coordinate: [100, 20] });
    await until('the entry', async () => (await entries()).length === 2);
    const click = (await entries())[1];
    assert.deepEqual((await there(click, 'before')).bytes, seen.bytes);
    const made = await there(click, 'after');
    for (const r of [seen, made]) {
      assert.equal(r.headers['content-type'], 'image/jpeg');
      assert.deepEqual([...r.bytes.subarray(0, 2)], [0xff, 0xd8]);
      const at = r.bytes.indexOf(Buffer.from([0xff, 0xc0])); // the frame's head: height and width
      assert.equal(Math.max(r.bytes.readUInt16BE(at + 5), r.bytes.readUInt16BE(at + 7)), 320);
      assert.ok(r.bytes.length < 49152, String(r.bytes.length));
    }
    // One that is only told, not drawn.
    await post({ action: 'cursor_position' });
    for (const [where, status] of [['1/picture', 400], ['1/picture?which=now', 400], ['x/picture?which=after', 404], ['99999/picture?which=after', 404]])
      assert.equal((await w.get(`/v1/agents/demo/log/${where}`)).status, status, where);
    await log();
  });

  test('what fails, what is not begun, what nobody waits for any more', async () => {
    await post([{ action: 'key', text: SECRET }, { action: 'left_click', coordinate: [1, 1] }]);
    assert.equal((await call('browser_click', { ref: 'e99999' })).isError, true);
    const q = http.request({ host: '127.0.0.1', port: w.port, method: 'POST', path: '/v1/agents/demo/computer', headers: { authorization: 'Bearer admin-token', 'content-type': 'application/json' } });
    q.on('error', () => {});
    q.end(JSON.stringify({ action: 'wait', duration: 60 }));
    await sleep(500);
    q.destroy();
    const list = await until('all', async () => { const l = (await w.get(`/v1/agents/demo/log?after=${seq}`)).json.entries; return l.length === 3 && l; });
    await log();
    assert.deepEqual(short(list), [['computer/anthropic', 'invalid', {}], ['mcp/browser_click', 'click', { ref: 'e99999', button: 'left' }], ['computer/anthropic', 'wait', { ms: 60000 }]]);
    assert.match(list[0].error, /^key: "…" is no key|text: "…" is no key|"…"/);
    assert.ok(list[1].error);
    assert.match(list[2].error, /the client left/);
    assert.ok(list[2].duration_ms >= 300 && list[2].duration_ms < 30000, String(list[2].duration_ms));
  });
});
