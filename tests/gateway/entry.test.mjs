// The entry: what is refused before a route sees it, who may do what, and that every answer closes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { World, sleep, until } from './lib.mjs';

let w;
before(async () => { w = await World.start({ conf: '[gateway]\nhosts = berth.example\norigins = https://ui.example\n' }); });
after(() => w.stop());

const status = (text) => Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? 0);
const head = (lines) => `${lines.join('\r\n')}\r\n\r\n`;
const host = () => `Host: 127.0.0.1:${w.port}`;
const auth = 'Authorization: Bearer admin-token';

test('health, index, the description and metrics', async () => {
  const r = await w.get('/healthz', { token: null });
  assert.deepEqual([r.status, r.json], [200, { status: 'ok', daemon: 'up' }]);
  assert.equal(r.headers.connection, 'close');
  assert.match((await w.get('/', { token: null })).text, /berth/);
  assert.match((await w.get('/openapi.json', { token: null })).json.openapi, /^3\.1/);
  assert.equal((await w.get('/metrics', { token: null })).status, 401);
  assert.match((await w.get('/metrics', { token: 'all-viewer-token' })).text, /^berth_gateway_requests_total \d+$/m);
  const only = await w.request('HEAD', '/healthz', { token: null });
  assert.deepEqual([only.status, only.bytes.length], [200, 0]);
});

test('problems have a stable form', async () => {
  const r = await w.get('/v1/nothing');
  assert.equal(r.status, 404);
  assert.equal(r.headers['content-type'], 'application/problem+json');
  assert.equal(r.json.type, 'not-found');
  const m = await w.request('PUT', '/v1/agents');
  assert.equal(m.status, 405);
  assert.equal(m.headers.allow, 'GET, POST');
  assert.equal((await w.get('/v1/agents/demo/cdp')).status, 426);
});

const malformed = {
  'no request': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
  'bare LF': 'GET /healthz HTTP/1.1\nHost: localhost\n\n',
  'a control byte': 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n',
  'a folded line': 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n',
  'a space before the colon': 'GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n',
  'HTTP/2': 'GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n',
  'a fragment': 'GET /healthz#x HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'two hosts': 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n',
  'no host': 'GET /healthz HTTP/1.1\r\n\r\n',
  'length and encoding': 'POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc',
  'two lengths': 'POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc',
  'a signed length': 'POST /v1/agents HTTP/1.1\r\nHost: localhost\r\nContent-Length: +3\r\n\r\nabc',
  "another host in the target": 'GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n',
};
for (const [name, bytes] of Object.entries(malformed)) {
  test(`malformed: ${name}`, async () => assert.equal(status(await w.raw(bytes)), 400));
}

test('an absolute target of our own host is fine', async () => {
  assert.equal(status(await w.raw('GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')), 200);
});

test('a head over 16 KiB and one with too many fields', async () => {
  assert.equal(status(await w.raw(`GET /healthz HTTP/1.1\r\n${host()}\r\nX: ${'a'.repeat(20000)}\r\n\r\n`)), 431);
  assert.equal(status(await w.raw(head(['GET /healthz HTTP/1.1', host(), ...Array(80).fill('X: y')]))), 431);
});

test('odd upgrades are refused before any library sees them', async () => {
  for (const u of ['h2c', 'TLS/1.0', 'foo', '', 'websocket, h2c', 'raw', 'x'.repeat(5000)]) {
    const text = await w.raw(head(['GET / HTTP/1.1', host(), `Upgrade: ${u}`, 'Connection: Upgrade', 'HTTP2-Settings: AAMAAABkAAQAAP__']));
    assert.equal(status(text), 400, `Upgrade: ${u.slice(0, 20)}`);
  }
  const two = head(['GET / HTTP/1.1', host(), 'Upgrade: websocket', 'Upgrade: foo', 'Connection: Upgrade']);
  assert.equal(status(await w.raw(two)), 400);
});

test('half a WebSocket handshake', async () => {
  const ok = ['GET /v1/agents/demo/exec HTTP/1.1', host(), auth, 'Upgrade: websocket', 'Connection: Upgrade',
    'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='];
  const without = (s) => head(ok.filter((l) => !l.startsWith(s)));
  assert.equal(status(await w.raw(without('Connection'))), 400);
  assert.equal(status(await w.raw(without('Sec-WebSocket-Key'))), 400);
  assert.equal(status(await w.raw(without('Sec-WebSocket-Version'))), 426);
  assert.equal(status(await w.raw(head([...ok.slice(0, -1), 'Sec-WebSocket-Key: c2hvcnQ=']))), 400);
  assert.equal(status(await w.raw(head([...ok, 'Content-Length: 5']))), 400);
  assert.equal(status(await w.raw(head(['GET /v1/status HTTP/1.1', ...ok.slice(1)]))), 400);
});

test('Host', async () => {
  const ask = (h) => w.raw(`GET /healthz HTTP/1.1\r\nHost: ${h}\r\n\r\n`).then(status);
  for (const h of ['localhost', 'LOCALHOST:7900', '127.0.0.1:1', '192.168.1.5:7900', '[::1]:7900', '[fe80::1]', 'berth.example', 'Berth.Example:80'])
    assert.equal(await ask(h), 200, h);
  for (const h of ['evil.example', 'localhost.evil.example', '127.0.0.1.nip.io', '[::1', 'a b', 'x:99999999', 'user@localhost', ''])
    assert.equal(await ask(h), 403, h);
});

test('Origin', async () => {
  const ask = (o, extra = {}) => w.get('/healthz', { headers: { origin: o, ...extra } }).then((r) => r.status);
  assert.equal(await ask(`http://127.0.0.1:${w.port}`), 200);
  assert.equal(await ask('https://ui.example'), 200);
  for (const o of ['https://evil.example', 'null', 'http://127.0.0.1', 'file://', 'https://ui.example.evil.example'])
    assert.equal(await ask(o), 403, o);
  const pre = await w.request('OPTIONS', '/v1/agents', { token: null, headers: { origin: 'https://ui.example', 'access-control-request-method': 'POST' } });
  assert.equal(pre.status, 204);
  assert.equal(pre.headers['access-control-allow-origin'], 'https://ui.example');
});

test('tokens, in every way they may come', async () => {
  const ask = (target, headers = {}) => w.get(target, { token: null, headers }).then((r) => r.status);
  assert.equal(await ask('/v1/status'), 401);
  assert.equal(await ask('/v1/status', { authorization: 'Bearer wrong' }), 401);
  assert.equal(await ask('/v1/status', { authorization: 'Bearer admin-token' }), 200);
  assert.equal(await ask('/v1/status', { authorization: `Basic ${btoa('anyone:admin-token')}` }), 200);
  assert.equal(await ask('/v1/status', { authorization: `Basic ${btoa('no colon')}` }), 401);
  assert.equal(await ask('/v1/status', { authorization: 'Digest x' }), 401);
  for (const q of ['token', 'apiKey', 'api_key']) assert.equal(await ask(`/v1/status?${q}=admin-token`), 200, q);
  assert.equal(await ask('/v1/status?token=admin%2Dtoken'), 200);
  assert.equal(await ask('/v1/status?token=admin-token&token=admin-token'), 401);
  assert.equal(await ask(`/v1/status?token=${'x'.repeat(4000)}`), 401);
  const r = await w.get('/v1/status', { token: null });
  assert.match(r.headers['www-authenticate'], /^Bearer/);
  assert.ok(!w.log.includes('admin-token'), 'a token is in the log');
});

test('roles and agents', async () => {
  const ask = (method, target, token, json) => w.request(method, target, { token, json }).then((r) => r.status);
  assert.equal(await ask('GET', '/v1/agents/demo', 'viewer-token'), 200);
  assert.equal(await ask('GET', '/v1/agents/ag_aaaaaaaaaaaaaaaa', 'viewer-token'), 200);
  assert.equal(await ask('GET', '/v1/agents/other', 'viewer-token'), 403);
  assert.equal(await ask('GET', '/v1/agents/ag_bbbbbbbbbbbbbbbb', 'viewer-token'), 403);
  assert.equal(await ask('POST', '/v1/agents/demo/start', 'viewer-token'), 403);
  assert.equal(await ask('POST', '/v1/agents/demo/start', 'agent-token'), 200);
  assert.equal(await ask('DELETE', '/v1/agents/demo', 'agent-token'), 403);
  assert.equal(await ask('POST', '/v1/tokens', 'agent-token', { role: 'admin' }), 403);
  assert.equal(await ask('GET', '/v1/events?follow=0', 'viewer-token'), 403);
  assert.equal(await ask('POST', '/v1/shutdown', 'admin-token'), 403);
  assert.equal(await ask('GET', '/v1/agents/nobody', 'admin-token'), 404);
  assert.equal(await ask('GET', '/v1/agents/..%2Fdemo', 'admin-token'), 404);
  assert.equal(await ask('GET', '/v1/agents/DEMO', 'admin-token'), 404);
  const list = await w.get('/v1/agents', { token: 'viewer-token' });
  assert.deepEqual(list.json.agents.map((a) => a.name), ['demo']);
  assert.deepEqual((await w.get('/v1/agents')).json.agents.map((a) => a.name), ['demo', 'other']);
});

test('the unix socket is admin, whatever the Host', async () => {
  const r = await w.request('POST', '/v1/shutdown', { by: 'socket', headers: { host: 'berth' } });
  assert.deepEqual([r.status, r.json.op, r.json.by], [200, 'shutdown', 'local']);
  const a = await w.get('/v1/agents/demo', { by: 'socket', headers: { host: 'berth' } });
  assert.equal(a.json.urls.cdp, `ws://127.0.0.1:${w.port}/v1/agents/demo/cdp`);
});

test('a second request on the connection is never read', async () => {
  const one = `GET /healthz HTTP/1.1\r\n${host()}\r\nConnection: keep-alive\r\n\r\n`;
  const text = await w.raw(one + one);
  assert.equal(text.match(/HTTP\/1\.1/g).length, 1);
});

test('a head in single bytes', async () => {
  const text = await w.raw([...`GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n`], { hold: 1 });
  assert.equal(status(text), 200);
});

test('a slow head ends after 10 s, and does not keep the processor busy', async () => {
  const cpu = () => { const f = fs.readFileSync(`/proc/${w.gateway.pid}/stat`, 'utf8').split(') ')[1].split(' '); return Number(f[11]) + Number(f[12]); };
  const before = cpu(), begun = Date.now();
  assert.equal(await w.raw('GET /healthz HTTP/1.1\r\nHost: loc'), '');
  const took = Date.now() - begun;
  assert.ok(took > 9000, `${took} ms`);
  assert.ok(cpu() - before < 50, 'busy');
});

test('many slow heads do not lock anybody out', async () => {
  const slow = Array.from({ length: 700 }, () => { const s = net.connect(w.port, '127.0.0.1'); s.on('error', () => {}); s.write('GET / HT'); return s; });
  await sleep(500);
  assert.equal((await w.get('/healthz', { token: null })).status, 200);
  for (const s of slow) s.destroy();
  await until('their end', async () => Number(/^berth_gateway_connections (\d+)$/m.exec((await w.get('/metrics')).text)[1]) < 5);
});

test('it runs with no privilege', { skip: process.getuid() !== 0 }, async () => {
  const status = fs.readFileSync(`/proc/${w.gateway.pid}/status`, 'utf8');
  for (const line of [/^Uid:\t2\t2\t2\t2$/m, /^Gid:\t2\t2\t2\t2$/m, /^Groups:\s*$/m, /^NoNewPrivs:\t1$/m])
    assert.match(status, line);
  for (const set of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) assert.match(status, new RegExp(`^Cap${set}:\\t0{16}$`, 'm'));
});

test('the start page', async () => {
  const r = await w.get('/', { by: 'start', headers: { host: 'start.berth.internal' } });
  assert.equal(r.status, 200);
  for (const script of [/[a-z]{4}/, /[\u4e00-\u9fff]/, /[\u0600-\u06ff]/, /\p{Extended_Pictographic}/u]) assert.match(r.text, script);
  assert.ok(!/(src|href)="(https?:)?\/\//.test(r.text), 'it asks for something from elsewhere');
  assert.equal((await w.get('/v1/agents', { by: 'start', headers: { host: 'x' } })).status, 404);
  assert.equal((await w.request('POST', '/', { by: 'start', headers: { host: 'x' } })).status, 405);
});
