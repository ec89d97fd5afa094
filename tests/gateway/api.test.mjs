// Routes: control ops and their arguments, events, ports, the way back to berthd.
import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { World, freePort, sleep, until } from './lib.mjs';

let w;
before(async () => { w = await World.start(); });
after(() => w.stop());

// Server-sent events as they come: { events: [{event, id, data}], close() }.
function follow(target, { method = 'GET', headers = {}, token = 'admin-token' } = {}) {
  const s = { events: [], ended: false, status: 0 };
  const q = http.request({ host: '127.0.0.1', port: w.port, method, path: target, agent: false,
    headers: { accept: 'text/event-stream', authorization: `Bearer ${token}`, ...headers } }, (res) => {
    s.status = res.statusCode;
    s.type = res.headers['content-type'];
    let text = '';
    res.on('data', (d) => {
      text += d;
      for (let i; (i = text.indexOf('\n\n')) >= 0; text = text.slice(i + 2)) {
        const e = {};
        for (const line of text.slice(0, i).split('\n')) { const [k, v] = line.split(/: ?(.*)/s); if (k) e[k] = v; }
        if (e.data) s.events.push({ event: e.event, id: e.id, data: JSON.parse(e.data) });
      }
    });
    res.on('error', () => {});
    res.on('close', () => { s.ended = true; });
  });
  q.on('error', () => { s.ended = true; });
  q.end();
  s.close = () => q.destroy();
  return s;
}

test('an op gets its arguments and who asked', async () => {
  const r = await w.request('POST', '/v1/agents', { json: { name: 'new', memory_mib: 512, allow: ['example.com'] } });
  assert.equal(r.status, 201);
  assert.deepEqual(r.json, { op: 'agent.create', args: { name: 'new', memory_mib: 512, allow: ['example.com'] }, by: 'tok_admin-token' });
  const p = await w.request('PATCH', '/v1/agents/demo/policy', { json: { remove: ['a.example'] } });
  assert.deepEqual(p.json.args, { remove: ['a.example'], agent: 'demo' });
  const l = await w.get('/v1/agents/demo/policy/log?limit=5&verdict=deny', { token: 'viewer-token' });
  assert.deepEqual(l.json.args, { agent: 'demo', limit: 5, verdict: 'deny' });
  assert.equal((await w.request('DELETE', '/v1/tokens/tok_x')).status, 204);
  assert.equal((await w.request('DELETE', '/v1/tokens/a%2Fb')).status, 404);
  assert.equal((await w.get('/v1/agents/demo/policy/log?limit=-1')).status, 400);
});

test('sleep and snapshots: each route is its op, with its arguments, for its role', async () => {
  const routes = [
    ['POST', '/v1/agents/demo/suspend', undefined, 'agent-token', 'agent.suspend', { agent: 'demo' }],
    ['POST', '/v1/agents/demo/resume', {}, 'agent-token', 'agent.resume', { agent: 'demo' }],
    ['POST', '/v1/agents/demo/snapshots', { tag: 'a', memory: false }, 'admin-token', 'agent.snapshot', { tag: 'a', memory: false, agent: 'demo' }, 201],
    ['GET', '/v1/agents/demo/snapshots', undefined, 'viewer-token', 'snapshot.list', { agent: 'demo' }],
    ['POST', '/v1/agents/demo/restore', { snapshot: 'sn_a' }, 'admin-token', 'agent.restore', { snapshot: 'sn_a', agent: 'demo' }],
    ['POST', '/v1/agents/demo/fork', { names: ['x', 'y'] }, 'admin-token', 'agent.fork', { names: ['x', 'y'], agent: 'demo' }, 201],
    ['POST', '/v1/agents/demo/fork', { count: 5, snapshot: 'a' }, 'admin-token', 'agent.fork', { count: 5, snapshot: 'a', agent: 'demo' }, 201],
    ['GET', '/v1/snapshots', undefined, 'all-viewer-token', 'snapshot.list', {}],
    ['GET', '/v1/snapshots/sn_a', undefined, 'all-viewer-token', 'snapshot.get', { snapshot: 'sn_a' }],
    ['POST', '/v1/agents', { name: 'n', from: 'a', idle_suspend: 0 }, 'admin-token', 'agent.create', { name: 'n', from: 'a', idle_suspend: 0 }, 201],
  ];
  for (const [method, where, json, token, op, args, status = 200] of routes) {
    const r = await w.request(method, where, { json, token });
    assert.deepEqual([r.status, r.json.op, r.json.args], [status, op, args], `${method} ${where}`);
  }
  assert.equal((await w.request('DELETE', '/v1/snapshots/sn_a')).status, 204);
  assert.equal((await w.request('PATCH', '/v1/agents/demo', { json: { idle_suspend: 60 } })).status, 200);
  assert.equal((await w.request('PATCH', '/v1/agents/demo', { json: { idle_suspend: 2592001 } })).status, 400);
  for (const [method, where, token] of [['POST', '/v1/agents/demo/suspend', 'viewer-token'], ['POST', '/v1/agents/other/suspend', 'agent-token'],
    ['POST', '/v1/agents/demo/snapshots', 'agent-token'], ['POST', '/v1/agents/demo/restore', 'agent-token'], ['POST', '/v1/agents/demo/fork', 'agent-token'],
    ['GET', '/v1/agents/other/snapshots', 'viewer-token'], ['GET', '/v1/snapshots', 'viewer-token'], ['GET', '/v1/snapshots/sn_a', 'viewer-token'],
    ['DELETE', '/v1/snapshots/sn_a', 'all-viewer-token']])
    assert.equal((await w.request(method, where, { token, ...(method === 'POST' ? { json: {} } : {}) })).status, 403, `${method} ${where} ${token}`);
  for (const [where, json] of [['/v1/agents/demo/restore', {}], ['/v1/agents/demo/restore', { snapshot: '' }], ['/v1/agents/demo/fork', { names: 'x' }],
    ['/v1/agents/demo/fork', { count: 0 }], ['/v1/agents/demo/fork', { count: 101 }], ['/v1/agents/demo/snapshots', { memory: 'no' }],
    ['/v1/agents/demo/snapshots', { tag: 'a'.repeat(80) }], ['/v1/agents/demo/suspend', { force: true }], ['/v1/agents', { name: 'n', idle_suspend: -1 }]])
    assert.equal((await w.request('POST', where, { json })).status, 400, JSON.stringify(json));
  assert.equal((await w.request('DELETE', '/v1/snapshots/a%2Fb')).status, 404);
});

test('waking an agent can be asked for as events', async () => {
  const s = follow('/v1/agents/demo/resume', { method: 'POST' });
  await until('its end', () => s.ended);
  assert.deepEqual([s.type, s.events.at(-1).event, s.events.at(-1).data.op], ['text/event-stream', 'result', 'agent.resume']);
});

test('an agent has its urls as this client reaches them', async () => {
  const a = (await w.get('/v1/agents/demo', { headers: { host: `localhost:${w.port}` } })).json;
  assert.deepEqual(a.urls, { cdp: `ws://localhost:${w.port}/v1/agents/demo/cdp`, cdp_http: `http://localhost:${w.port}/v1/agents/demo`,
    live: null, rfb: null, computer: `http://localhost:${w.port}/v1/agents/demo/computer`, mcp: `http://localhost:${w.port}/v1/agents/demo/mcp` });
});

for (const [name, body, status] of [
  ['unknown field', '{"name":"a","x":1}', 400], ['wrong type', '{"name":5}', 400], ['missing', '{}', 400], ['no body', '', 400],
  ['out of range', '{"name":"a","memory_mib":1}', 400], ['not an object', '[1]', 400], ['not JSON', '{"name":', 400],
  ['something behind', '{"name":"a"} x', 400], ['not UTF-8', Buffer.from([0x7b, 0x22, 0x6e, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400],
  ['fraction', '{"name":"a","cpus":1.5}', 400], ['deep', '['.repeat(200000), 400], ['1 MiB and one', `{"name":"${'a'.repeat(1 << 20)}"}`, 413]]) {
  test(`a bad body: ${name}`, async () => {
    const r = await w.request('POST', '/v1/agents', { body });
    assert.deepEqual([r.status, r.json?.status], [status, status]);
  });
}

test('a chunked body, whole and malformed, and one that is not taken', async () => {
  const h = `POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-token\r\nTransfer-Encoding: chunked\r\n\r\n`;
  assert.match(await w.raw([h, '5\r\n{"nam\r\n', '7;x=y\r\ne":"a"}\r\n0\r\nX: y\r\n\r\n'], { hold: 5 }), /^HTTP\/1\.1 201 /);
  assert.match(await w.raw(`${h}zz\r\n`), /^HTTP\/1\.1 400 /);
  assert.match(await w.raw(`${h}fffffffffffffffff\r\n`), /^HTTP\/1\.1 400 /);
  assert.equal((await w.request('DELETE', '/v1/agents/demo', { body: 'x', headers: { 'content-length': 1 } })).status, 400);
});

test('Expect: 100-continue, and another expectation', async () => {
  const h = (e) => `POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-token\r\nContent-Length: 12\r\nExpect: ${e}\r\n\r\n`;
  assert.match(await w.raw([h('100-continue'), '{"name":"a"}'], { hold: 50 }), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /);
  assert.match(await w.raw(h('magic')), /^HTTP\/1\.1 417 /);
});

test('a long op tells its progress', async () => {
  const s = follow('/v1/agents/demo/start', { method: 'POST' });
  await until('its end', () => s.ended);
  assert.equal(s.type, 'text/event-stream');
  assert.deepEqual(s.events.map((e) => e.event), ['progress', 'progress', 'result']);
  assert.equal(s.events[0].data.step, 'boot');
  assert.ok(s.events[2].data.urls.cdp);
  const bad = follow('/v1/agents/nobody/start', { method: 'POST' });
  await until('its end', () => bad.ended);
  assert.deepEqual([bad.events.length, bad.events[0].event, bad.events[0].data.type], [1, 'error', 'agent-not-found']);
});

test('events: listed, followed, and from where one left off', async () => {
  w.event('browser.up', '1');
  w.event('browser.down', '2');
  await until('both', async () => (await w.get('/v1/events?follow=0')).json.events.length >= 2);
  const live = follow('/v1/agents/demo/events', { token: 'viewer-token' });
  const old = follow('/v1/events?follow=1&limit=1');
  const later = follow('/v1/events', { headers: { 'last-event-id': '1' } });
  await until('the old ones', () => old.events.length === 1 && later.events.length === 1 && live.status === 200);
  assert.deepEqual([old.events[0].data.data.id, later.events[0].id], ['2', '2']);
  w.event('agent.crashed', '3');
  await until('the new one', () => [live, old, later].every((s) => s.events.at(-1)?.event === 'agent.crashed'));
  assert.deepEqual([live.events.length, old.events.length, later.events.length], [1, 2, 2]);
  for (const s of [live, old, later]) s.close();
});

test('a port that speaks plain CDP', async () => {
  const upstream = http.createServer((q, r) => r.end(JSON.stringify({ url: q.url }))).listen(0, '127.0.0.1');
  await new Promise((r) => upstream.once('listening', r));
  const open = await w.request('POST', '/v1/agents/demo/port', { json: {} });
  assert.equal(open.status, 200);
  const { port } = open.json;
  const ask = (target, headers = {}, method = 'GET') => w.request(method, target, { by: port, headers }).then((r) => r.status, () => 0);
  assert.equal(await ask('/v1/agents/demo'), 404);
  assert.equal(await ask('/healthz'), 404);
  assert.notEqual(await ask('/json/version'), 404);
  assert.equal(await ask('/json/version', { host: 'evil.example' }), 403);
  assert.equal(await ask('/json/version', { host: '192.168.0.7' }), 403);
  assert.equal(await ask('/json/version', { origin: `http://127.0.0.1:${port}` }), 403);
  assert.deepEqual((await w.request('POST', '/v1/agents/demo/port', { json: {} })).json, { port });
  const taken = net.createServer().listen(0, '127.0.0.1');
  await new Promise((r) => taken.once('listening', r));
  const r = await w.request('POST', '/v1/agents/other/port', { json: { port: taken.address().port } });
  assert.equal(r.status, 409);
  assert.match(r.json.hint, /another program/);
  taken.close();
  assert.equal((await w.request('DELETE', '/v1/agents/demo/port')).status, 204);
  await until('its end', async () => (await ask('/json/version')) === 0);
  upstream.close();
});

test('ports come back with the gateway', async () => {
  const { port } = (await w.request('POST', '/v1/agents/demo/port', { json: { port: await freePort() } })).json;
  const gone = new Promise((r) => w.gateway.once('exit', r));
  w.gateway.kill('SIGKILL');
  await gone;
  w.startGateway();
  await until('the port', () => w.request('GET', '/nothing', { by: port }).then((r) => r.status === 404, () => false));
  w.event('agent.removed', '');
  await until('its end', () => w.request('GET', '/nothing', { by: port }).then(() => false, () => true));
});

test('berthd away: safe requests wait, then 503; everything is back with it', async () => {
  await w.stopDaemon();
  const begun = Date.now();
  const gone = await w.get('/v1/agents', { by: 'socket', headers: { host: 'x' } });
  assert.deepEqual([gone.status, gone.json.type], [503, 'daemon-unavailable']);
  assert.ok(Date.now() - begun > 4000);
  assert.equal((await w.get('/healthz')).json.daemon, 'down');
  const waiting = w.get('/v1/agents', { by: 'socket', headers: { host: 'x' } });
  await sleep(300);
  await w.startDaemon();
  assert.equal((await waiting).status, 200);
});

test('a request that changes something is not repeated when berthd dies under it', async () => {
  const waiting = w.request('POST', '/v1/agents/demo/stop', { by: 'socket', headers: { host: 'x' } });
  await sleep(300);
  await w.stopDaemon();
  const r = await waiting;
  assert.deepEqual([r.status, r.json.type], [503, 'daemon-unavailable']);
  assert.match(r.json.detail, /before it answered/);
  await w.startDaemon();
  await until('berthd', async () => (await w.get('/healthz')).json.daemon === 'up');
});

test('the action log: an op with its arguments, and a stream', async () => {
  const r = await w.get('/v1/agents/demo/log?limit=5&after=7', { token: 'viewer-token' });
  assert.deepEqual([r.status, r.json.args], [200, { agent: 'demo', limit: 5, after: 7 }]);
  for (const wrong of ['limit=501', 'after=x', 'follow=2']) assert.equal((await w.get(`/v1/agents/demo/log?${wrong}`)).status, 400);
  assert.equal((await w.get('/v1/agents/other/log', { token: 'viewer-token' })).status, 403);
  const s = follow('/v1/agents/demo/log?follow=1');
  await until('the head', () => s.status === 200);
  // There is no browser: it is tried, it fails, and both are told.
  await w.request('POST', '/v1/agents/demo/computer', { json: { action: 'type', text: 'hunter2' } });
  const { event, data } = await until('the action', () => s.events[0]);
  s.close();
  assert.equal(event, 'action');
  assert.deepEqual([data.agent, data.source, data.by, data.action, data.params], ['demo', 'computer/anthropic', 'tok_admin-token', 'type', { text_length: 7 }]);
  assert.ok(data.error && data.time > 1.7e15 && data.duration_ms >= 0, JSON.stringify(data));
});

test('the action log while berthd is away: kept for it, and what is too much is counted', async () => {
  const counts = async () => {
    const { text } = await w.get('/metrics');
    return ['actions', 'actions_lost'].map((n) => Number(new RegExp(`^berth_gateway_${n}_total (\\d+)$`, 'm').exec(text)[1]));
  };
  const [done, lost] = await counts();
  const wait = (duration) => ({ action: 'wait', duration });
  const many = Array.from({ length: 6 }, (_, i) => w.request('POST', '/v1/agents/demo/computer?screenshot=never',
    { json: [wait(i ? 0 : 1), ...Array.from({ length: 199 }, () => wait(0))] }));
  await sleep(400);
  await w.stopDaemon();
  for (const r of await Promise.all(many)) assert.equal(r.status, 200, r.text);
  await w.startDaemon();
  await until('berthd', async () => (await w.get('/healthz')).json.daemon === 'up');
  assert.deepEqual(await counts(), [done + 1200, lost + 200]);
  await until('all of them', async () => (await w.get('/v1/agents/demo/log')).json?.entries?.at(-1)?.seq === 1000);
  const { entries } = (await w.get('/v1/agents/demo/log?limit=2&after=1')).json;
  assert.deepEqual(entries.map((e) => [e.seq, e.action, e.params]), [[2, 'wait', { ms: 0 }], [3, 'wait', { ms: 0 }]]);
});

test('64 clients on one agent, then 429', async () => {
  const streams = Array.from({ length: 64 }, () => follow('/v1/agents/demo/events'));
  await until('all', () => streams.every((s) => s.status === 200));
  const r = await w.get('/v1/agents/demo');
  assert.deepEqual([r.status, r.json.type], [429, 'too-many-requests']);
  assert.equal((await w.get('/v1/agents/other')).status, 200);
  for (const s of streams) s.close();
  await until('room', async () => (await w.get('/v1/agents/demo')).status === 200);
});

test('port 0: the log and the URLs name the real one', async () => {
  const gone = new Promise((r) => w.gateway.once('exit', r));
  w.gateway.kill('SIGTERM');
  await gone;
  w.log = '';
  w.startGateway({ listen: '127.0.0.1:0' });
  const port = await until('the log', () => /listening on 127\.0\.0\.1:(\d+)/.exec(w.log)?.[1]);
  assert.notEqual(port, '0');
  assert.equal((await w.get('/healthz', { by: Number(port) })).status, 200);
  const a = await until('berthd', async () => { const r = await w.get('/v1/agents/demo', { by: 'socket' }); return r.status === 200 && r.json; });
  assert.ok(a.urls.cdp.startsWith(`ws://127.0.0.1:${port}/`), a.urls.cdp);
  w.port = Number(port);
});

test('a port in use: one clear line, status 1', async () => {
  const { execFile } = await import('node:child_process');
  const bin = w.gateway.spawnfile;
  const { code, stderr } = await new Promise((r) => execFile(bin, ['--state', w.state, '--listen', `127.0.0.1:${w.port}`],
    { env: { ...process.env, BERTH_SHARE: w.share() } }, (e, _, err) => r({ code: e?.code ?? 0, stderr: err })));
  assert.equal(code, 1);
  assert.match(stderr, /cannot listen on 127\.0\.0\.1:\d+: Address already in use; .*--listen/);
});
