// Bad input at every door: a clear error each time, nothing lost, nobody else disturbed.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';

import { WebSocket } from 'ws';

import { Appliance, SLOW, sleep, until } from '../lib/appliance.mjs';

let a;
let token;
let setUp; // the last event before the bad input begins
let witness; // a client that must not notice anything

before(
  async () => {
    a = await Appliance.start();
    await a.create('one');
    await a.cli('create', 'two', '--no-start');
    token = (await a.lines('token', 'create', '--role', 'agent', '--agent', 'one')).at(-1);
    setUp = (await a.json('events')).events.at(-1).seq;
    witness = await cdp(token);
    await witness.call('Browser.getVersion');
  },
  { timeout: 200000 * SLOW },
);
after(async () => {
  witness?.ws.terminate();
  await a?.destroy();
}, { timeout: 180000 * SLOW });

/** A raw CDP client. */
async function cdp(t, agent = 'one') {
  const ws = new WebSocket(`ws://127.0.0.1:${a.port}/v1/agents/${agent}/cdp?token=${t}`, { maxPayload: 1 << 29, perMessageDeflate: false });
  const waiting = new Map();
  let id = 0;
  const c = { ws, closed: null };
  ws.on('error', () => {});
  ws.on('close', (code, reason) => {
    c.closed = { code, reason: reason.toString() };
    for (const w of waiting.values()) w.reject(new Error(`closed with ${code} ${reason}`));
  });
  ws.on('message', (m) => {
    const v = JSON.parse(m);
    waiting.get(v.id)?.resolve(v);
    waiting.delete(v.id);
  });
  await new Promise((ok, no) => {
    ws.once('open', ok);
    ws.once('unexpected-response', (_r, res) => no(Object.assign(new Error(`HTTP ${res.statusCode}`), { status: res.statusCode })));
    ws.once('error', no);
  });
  c.call = (method, params = {}, more = {}) =>
    new Promise((resolve, reject) => {
      const n = ++id;
      waiting.set(n, { resolve, reject });
      ws.send(JSON.stringify({ id: n, method, params, ...more }));
      setTimeout(() => reject(new Error(`${method}: no answer`)), 60000 * SLOW).unref();
    });
  return c;
}

/** Sends raw bytes to the gateway; what came back until it closed, said what is enough, or fell silent. */
function raw(bytes, { wait = 30000 * SLOW, pieces = 1, enough = null } = {}) {
  return new Promise((resolve) => {
    const s = net.connect(a.port, '127.0.0.1');
    const chunks = [];
    const done = (how) => {
      clearTimeout(timer);
      s.destroy();
      resolve({ how, text: Buffer.concat(chunks).toString('latin1') });
    };
    const timer = setTimeout(() => done('silent'), wait);
    s.on('data', (d) => {
      chunks.push(d);
      if (enough?.test(Buffer.concat(chunks).toString('latin1'))) done('enough');
    });
    s.on('error', () => done('reset'));
    s.on('close', () => done('closed'));
    s.on('connect', async () => {
      const b = Buffer.from(bytes, 'latin1');
      const size = Math.ceil(b.length / pieces);
      for (let i = 0; i < b.length; i += size) {
        s.write(b.subarray(i, i + size));
        if (pieces > 1) await sleep(5);
      }
    });
  });
}

async function nobodyNoticed() {
  assert.equal(witness.closed, null);
  const v = await witness.call('Browser.getVersion');
  assert.match(v.result.product, /Chrom/);
}

const problem = (r, status, type) => {
  assert.equal(r.status, status, JSON.stringify(r.body));
  assert.match(r.type, /^application\/problem\+json/);
  assert.equal(r.body.status, status);
  if (type) assert.match(r.body.type, new RegExp(`${type}$`));
  assert.ok(r.body.detail?.length > 5, 'says what is wrong');
};

test('names, sizes and rules out of range; unknown fields; broken JSON', { timeout: 240000 * SLOW }, async () => {
  const before = (await a.json('ls')).agents.length;
  const bad = [
    [{ name: '' }, 'invalid'],
    [{ name: 'Upper' }, 'invalid-name'],
    [{ name: '-dash' }, 'invalid-name'],
    [{ name: 'a'.repeat(64) }, 'invalid'],
    [{ name: '../../etc' }, 'invalid-name'],
    [{ name: 'ä' }, 'invalid-name'],
    [{ name: 12 }, 'invalid-request'],
    [{}, 'invalid-request'],
    [{ name: 'x', memory_mib: 255 }, 'invalid-request'],
    [{ name: 'x', memory_mib: 65537 }, 'invalid-request'],
    [{ name: 'x', memory_mib: 1e300 }, 'invalid-request'],
    [{ name: 'x', memory_mib: '1024' }, 'invalid-request'],
    [{ name: 'x', cpus: 0 }, 'invalid-request'],
    [{ name: 'x', cpus: 17 }, 'invalid-request'],
    [{ name: 'x', disk_gib: 0 }, 'invalid-request'],
    [{ name: 'x', disk_gib: 1025 }, 'invalid-request'],
    [{ name: 'x', disk_gib: 1.5 }, 'invalid-request'],
    [{ name: 'x', colour: 'red' }, 'invalid-request'],
    [{ name: 'x', allow: 'shop.test' }, 'invalid-request'],
    [{ name: 'x', allow: ['*'] }, 'invalid-rule'],
    [{ name: 'x', allow: ['http://shop.test/'] }, 'invalid-rule'],
    [{ name: 'x', allow: ['shop.test:0'] }, 'invalid-rule'],
    [{ name: 'x', allow: ['shop.test:65536'] }, 'invalid-rule'],
    [{ name: 'x', allow: ['1.2.3.4'] }, 'invalid-rule'],
    [{ name: 'x', allow: ['a b.test'] }, 'invalid-rule'],
    [{ name: 'x', on_crash: 'explode' }, 'invalid-request'],
  ];
  for (const [body, type] of bad) {
    const r = await a.api('POST', '/v1/agents', body);
    assert.equal(r.status, 400, `${JSON.stringify(body)} → ${r.status} ${r.raw}`);
    problem(r, 400, `${type}[a-z-]*`);
  }
  problem(await a.api('POST', '/v1/agents', { name: 'x', image: 'nosuchimage00000' }), 404, 'image-not-found');
  problem(await a.api('POST', '/v1/agents', { name: 'one' }), 409, 'agent-exists');
  for (const body of ['{', '[]', '"x"', '', 'null', '{"name":"x"}}', '{"name":"x","name":"y"}', `{"name":"x","labels":${'['.repeat(2000)}`]) {
    const r = await a.api('POST', '/v1/agents', body, { headers: { 'content-type': 'application/json' } });
    assert.equal(r.status, 400, `${body.slice(0, 60)} → ${r.status} ${r.raw}`);
  }
  problem(await a.api('POST', '/v1/agents', `{"name":"${'x'.repeat(2 << 20)}"}`, { headers: { 'content-type': 'application/json' } }), 413, 'too-large');
  problem(await a.api('GET', '/v1/agents/nobody'), 404, 'agent-not-found');
  problem(await a.api('GET', '/v1/nothing'), 404, 'not-found');
  problem(await a.api('PUT', '/v1/agents'), 405, 'method-not-allowed');
  problem(await a.api('POST', '/v1/agents/two/exec', { cmd: ['id'] }), 409, 'wrong-state');
  problem(await a.api('POST', '/v1/agents/one/exec', { cmd: [] }), 400, 'invalid-request');
  problem(await a.api('GET', '/v1/agents/one/files/no/such/file'), 404, 'file-not-found');
  assert.equal((await a.json('ls')).agents.length, before);
  await nobodyNoticed();
});

test('changes to what is there, tokens and rules: the same care', { timeout: 240000 * SLOW }, async () => {
  const before = JSON.stringify((await a.json('show', 'two')).policy);
  const many = Array.from({ length: 10001 }, (_, i) => `n${i}.test`);
  const bad = [
    ['PATCH', '/v1/agents/two', { colour: 'red' }, 400, 'invalid-request'],
    ['PATCH', '/v1/agents/two', { memory_mib: 1 }, 400, 'invalid-request'],
    ['PATCH', '/v1/agents/two', { cpus: 1e9 }, 400, 'invalid-request'],
    ['PATCH', '/v1/agents/two', { on_crash: 7 }, 400, 'invalid-request'],
    ['PATCH', '/v1/agents/two', { labels: { x: 1 } }, 400, 'invalid-request'],
    ['PATCH', '/v1/agents/two', { labels: { ['k'.repeat(1000)]: 'v' } }, 400, 'invalid-request'],
    ['PATCH', '/v1/agents/nobody', { cpus: 2 }, 404, 'agent-not-found'],
    ['PATCH', '/v1/agents/two/policy', { allow: ['*'] }, 400, 'invalid-rule'],
    ['PATCH', '/v1/agents/two/policy', { allow: ['ok.test', 'bad..test'] }, 400, 'invalid-rule'],
    ['PATCH', '/v1/agents/two/policy', { deny: 'x.test' }, 400, 'invalid-request'],
    ['PUT', '/v1/agents/two/policy', { rules: many }, 409, 'limit-reached'],
    ['PUT', '/v1/agents/two/policy', { rules: ['x.test'], mode: 'open' }, 400, 'invalid-request'],
    ['PUT', '/v1/agents/two/policy', { rules: 'x.test' }, 400, 'invalid-request'],
    ['POST', '/v1/tokens', { role: 'king' }, 400, 'invalid-request'],
    ['POST', '/v1/tokens', { role: 'agent', agent: 'nobody' }, 404, 'agent-not-found'],
    ['POST', '/v1/tokens', { role: 'agent', agent: 'two', ttl: -1 }, 400, 'invalid-request'],
    ['POST', '/v1/tokens', { role: 'agent', agent: 'two', ttl: 'soon' }, 400, 'invalid-request'],
    ['POST', '/v1/tokens', { role: 'agent', agent: 'two', label: 'x'.repeat(5000) }, 400, 'invalid-request'],
    ['DELETE', '/v1/tokens/tok_nosuchtoken00000', undefined, 404, 'token-not-found'],
    ['DELETE', '/v1/images/0123456789abcdef', undefined, 404, 'image-not-found'],
    ['DELETE', '/v1/images/..%2f..%2fetc', undefined, 404, '[a-z-]*not-found'],
    ['POST', '/v1/agents/one/open', { url: 'file:///etc/passwd' }, 400, 'invalid-request'],
    ['POST', '/v1/agents/one/open', { url: 7 }, 400, 'invalid-request'],
    ['GET', '/v1/agents/one/screenshot?format=exe', undefined, 400, 'invalid-request'],
    ['GET', '/v1/agents/one/screenshot?quality=101', undefined, 400, 'invalid-request'],
    ['POST', '/v1/agents/one/port', { port: 70000 }, 400, 'invalid-request'],
    ['POST', '/v1/agents/one/exec', { cmd: ['id'], shell: true }, 400, 'invalid-request'],
    ['POST', '/v1/agents/one/exec', { cmd: ['id', 7] }, 400, 'invalid-request'],
    ['POST', '/v1/agents/one/exec', { cmd: ['id'], timeout: -1 }, 400, 'invalid-request'],
    ['POST', '/v1/agents/one/exec', { cmd: ['id'], user: 'nobody-here' }, 422, 'exec-failed'],
    ['POST', '/v1/agents/one/exec', { cmd: ['id', 'x'.repeat(100000)] }, 400, 'invalid-request'],
    ['GET', '/v1/events?follow=0&after=-1', undefined, 400, 'invalid-request'],
    ['GET', '/v1/agents/one/policy/log?limit=0x10', undefined, 400, 'invalid-request'],
  ];
  const wrong = [];
  for (const [method, where, body, status, type] of bad) {
    const r = await a.api(method, where, body);
    const fits = r.status === status && /^application\/problem\+json/.test(r.type) && new RegExp(`${type}$`).test(r.body.type) && r.body.detail?.length > 5;
    if (!fits) wrong.push(`${method} ${where} ${JSON.stringify(body)?.slice(0, 60)} → ${r.status} ${r.raw.toString().slice(0, 200)}`);
  }
  assert.deepEqual(wrong, []);
  assert.equal(JSON.stringify((await a.json('show', 'two')).policy), before);
  await nobodyNoticed();
});

test('the CLI says the same, in one line, with exit status 1 or 2', { timeout: 240000 * SLOW }, async () => {
  for (const [args, status] of [
    [['create', 'Upper'], 1],
    [['create', 'x', '--memory', '12'], [1, 2]],
    [['create', 'x', '--allow', '*'], 1],
    [['create'], 2],
    [['create', 'x', '--no-such-option'], 2],
    [['frobnicate'], 2],
    [['show', 'nobody'], 1],
    [['start', 'nobody'], 1],
    [['cdp', 'nobody'], 1],
    [['exec', 'two', '--', 'id'], 1],
    [['token', 'create', '--role', 'king'], [1, 2]],
  ]) {
    const r = await a.tryCli(...args);
    assert.ok([status].flat().includes(r.status), `berth ${args.join(' ')}: ${r.status} ${r.stderr}`);
    assert.ok(r.stderr.trim().length > 5, args.join(' '));
    assert.equal(r.stdout.toString(), '');
  }
});

test('tokens: none, wrong, expired, revoked, of another agent, of a lower role', { timeout: 240000 * SLOW }, async () => {
  problem(await a.api('GET', '/v1/agents', undefined, { token: null }), 401);
  problem(await a.api('GET', '/v1/agents', undefined, { token: 'wrong' }), 401);
  problem(await a.api('GET', '/v1/agents', undefined, { token: 'x'.repeat(5000) }), 401);
  const other = (await a.lines('token', 'create', '--role', 'agent', '--agent', 'two')).at(-1);
  const viewer = (await a.lines('token', 'create', '--role', 'viewer', '--agent', 'one')).at(-1);
  const short = (await a.lines('token', 'create', '--role', 'agent', '--agent', 'one', '--ttl', '1')).at(-1);
  await sleep(1500);
  problem(await a.api('GET', '/v1/agents/one', undefined, { token: short }), 401, 'token-expired');
  problem(await a.api('POST', '/v1/agents', { name: 'x' }, { token }), 403, 'forbidden');
  problem(await a.api('POST', '/v1/tokens', { role: 'admin' }, { token }), 403, 'forbidden');
  problem(await a.api('GET', '/v1/tokens', undefined, { token: viewer }), 403, 'forbidden');
  problem(await a.api('POST', '/v1/agents/one/exec', { cmd: ['id'] }, { token: viewer }), 403, 'forbidden');
  problem(await a.api('PATCH', '/v1/agents/one/policy', { allow: ['evil.test'] }, { token }), 403, 'forbidden');
  problem(await a.api('POST', '/v1/shutdown'), 403, 'forbidden');
  for (const [t, agent] of [
    [other, 'one'],
    [viewer, 'one'],
    ['wrong', 'one'],
    ['', 'one'],
  ])
    await assert.rejects(cdp(t, agent), (e) => [401, 403, 404].includes(e.status), `token ${t} on ${agent}`);
  const list = await a.json('token', 'ls');
  const mine = list.tokens.find((x) => x.role === 'viewer');
  assert.equal((await a.api('GET', '/v1/agents/one', undefined, { token: viewer })).status, 200);
  await a.cli('token', 'revoke', mine.id);
  problem(await a.api('GET', '/v1/agents/one', undefined, { token: viewer }), 401);
  assert.doesNotMatch(JSON.stringify(list), new RegExp(token));
  await nobodyNoticed();
});

test('a foreign Host or Origin is refused', { timeout: 150000 * SLOW }, async () => {
  const ask = (lines) => raw(`GET /v1/status HTTP/1.1\r\nAuthorization: Bearer ${a.token}\r\n${lines}\r\n\r\n`);
  assert.match((await ask(`Host: 127.0.0.1:${a.port}`)).text, /^HTTP\/1\.1 200/);
  assert.match((await ask(`Host: localhost:${a.port}`)).text, /^HTTP\/1\.1 200/);
  for (const lines of ['Host: evil.test', `Host: evil.test:${a.port}`, `Host: 127.0.0.1:${a.port}\r\nOrigin: http://evil.test`, `Host: 127.0.0.1:${a.port}\r\nOrigin: null`])
    assert.match((await ask(lines)).text, /^HTTP\/1\.1 (400|403|421)/, lines);
});

test('malformed HTTP', { timeout: 300000 * SLOW }, async () => {
  const host = `Host: 127.0.0.1:${a.port}\r\nAuthorization: Bearer ${a.token}\r\n`;
  const bad = [
    'GARBAGE\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', // a TLS ClientHello
    'GET /v1/status HTTP/1.1\r\n\r\n', // no Host
    `GET /v1/status HTTP/3.0\r\n${host}\r\n`,
    `GET /v1/status HTTP/1.1\n${host}\n`,
    `GET /v1/status HTTP/1.1\r\n${host}Host: other\r\n\r\n`,
    `GET /v1/status HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`,
    `GET /v1/status HTTP/1.1\r\n${host}X : a\r\n\r\n`,
    `GET /v1/status HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`,
    `GET /v1/status HTTP/1.1\r\n${host}${'X: y\r\n'.repeat(200)}\r\n`,
    `GET /${'a'.repeat(20000)} HTTP/1.1\r\n${host}\r\n`,
    `GET http:// HTTP/1.1\r\n${host}\r\n`,
    `GET /v1/agents/%00 HTTP/1.1\r\n${host}\r\n`,
    `GET /v1/agents/%zz HTTP/1.1\r\n${host}\r\n`,
    `POST /v1/agents HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`,
    `POST /v1/agents HTTP/1.1\r\n${host}Content-Length: 99999999999999999999\r\n\r\n`,
    `POST /v1/agents HTTP/1.1\r\n${host}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
    `POST /v1/agents HTTP/1.1\r\n${host}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `POST /v1/agents HTTP/1.1\r\n${host}Transfer-Encoding: gzip\r\n\r\n`,
    `POST /v1/agents HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
  ];
  for (const bytes of bad) {
    const r = await raw(bytes);
    assert.match(r.text || 'closed', /^HTTP\/1\.1 (4\d\d|5\d\d)|^closed/, `${JSON.stringify(bytes.slice(0, 80))} → ${r.how} ${r.text.slice(0, 200)}`);
    assert.notEqual(r.how, 'silent', JSON.stringify(bytes.slice(0, 80)));
  }
  const slow = await raw(`GET /healthz HTTP/1.1\r\n${host}\r\n`, { pieces: 40 });
  assert.match(slow.text, /^HTTP\/1\.1 200/);
  await nobodyNoticed();
});

test('odd Upgrade headers', { timeout: 150000 * SLOW }, async () => {
  for (const upgrade of ['foo', 'h2c', 'TLS/1.0', 'websocket2', '', 'websocket, foo', 'WebSocket\r\nUpgrade: h2c', 'x'.repeat(4000)]) {
    const r = await raw(`GET /v1/agents/one/cdp HTTP/1.1\r\nHost: 127.0.0.1:${a.port}\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\nSec-WebSocket-Version: 13\r\n\r\n`);
    assert.match(r.text, /^HTTP\/1\.1 4\d\d/, `${upgrade.slice(0, 30)} → ${r.how} ${r.text.slice(0, 100)}`);
  }
  const old = await raw(`GET /v1/agents/one/cdp HTTP/1.1\r\nHost: 127.0.0.1:${a.port}\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`);
  assert.match(old.text, /^HTTP\/1\.1 4\d\d/);
  await nobodyNoticed();
});

const upgrade = () =>
  `GET /v1/agents/one/cdp HTTP/1.1\r\nHost: 127.0.0.1:${a.port}\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;

/** Opens a WebSocket by hand, sends bytes after the handshake, gives what came until the end. */
function rawWs(bytes, enough) {
  return raw(upgrade() + bytes.toString('latin1'), { wait: 30000 * SLOW, enough });
}

/** A client frame with a zero mask. */
function frame(first, payload, { masked = true, length = payload.length } = {}) {
  const head = length < 126 ? [first, length] : length < 65536 ? [first, 126, length >> 8, length & 255] : [first, 127, 0, 0, ...Buffer.from([length / 2 ** 40, length / 2 ** 32, length >>> 24, length >>> 16, length >>> 8, length].map((v) => Math.floor(v) & 255))];
  if (masked) head[1] |= 0x80;
  return Buffer.concat([Buffer.from(head), masked ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
}

test('malformed WebSocket frames end that connection, with a close code', { timeout: 300000 * SLOW }, async () => {
  const text = Buffer.from('{"id":1,"method":"Browser.getVersion"}');
  const ok = await rawWs(frame(0x81, text), /"id":1,"result"/);
  assert.match(ok.text, /^HTTP\/1\.1 101/);
  assert.match(ok.text, /"id":1,"result"/);
  const bad = {
    'no mask': frame(0x81, text, { masked: false }),
    'no mask in a later fragment': Buffer.concat([frame(0x01, text.subarray(0, 9)), frame(0x80, text.subarray(9), { masked: false })]),
    'reserved bit': frame(0xc1, text),
    'reserved operation': frame(0x83, text),
    'fragmented ping': frame(0x09, Buffer.from('x')),
    'long ping': frame(0x89, Buffer.alloc(126)),
    'continuation of nothing': frame(0x80, text),
    'new message inside another': Buffer.concat([frame(0x01, Buffer.from('{"id"')), frame(0x81, text)]),
    'length of 2^63': Buffer.concat([Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(4)]),
    'not UTF-8': frame(0x81, Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
    'UTF-8 broken over fragments': Buffer.concat([frame(0x01, Buffer.from([0x22, 0xe3, 0x81])), frame(0x80, Buffer.from([0x22]))]),
  };
  const wrong = [];
  const ends = await Promise.all(Object.entries(bad).map(async ([what, bytes]) => [what, await rawWs(bytes)]));
  for (const [what, r] of ends) {
    assert.match(r.text, /^HTTP\/1\.1 101/, what);
    if (r.how === 'silent') wrong.push(`${what}: the connection stayed open`);
    if (/"result"/.test(r.text)) wrong.push(`${what}: it was answered`);
  }
  assert.deepEqual(wrong, []);
  const fragments = Buffer.concat([frame(0x01, text.subarray(0, 10)), frame(0x00, text.subarray(10, 11)), frame(0x89, Buffer.from('p')), frame(0x00, Buffer.alloc(0)), frame(0x80, text.subarray(11))]);
  assert.match((await rawWs(fragments, /"id":1,"result"/)).text, /"id":1,"result"/);
  await nobodyNoticed();
});

test('malformed CDP is answered or ends that client alone', { timeout: 240000 * SLOW }, async () => {
  for (const message of ['hello', '{}', '[]', '{"id":1}', '{"method":"Browser.getVersion"}', '{"id":"x","method":1}', '{"id":1,"method":"No.such"}', '{'.repeat(5000), `{"id":1,"method":"${'x'.repeat(100000)}"}`]) {
    const c = await cdp(token);
    c.ws.send(message);
    await sleep(150);
    c.ws.terminate();
  }
  const c = await cdp(token);
  c.ws.send(Buffer.from('{"id":1,"method":"Browser.getVersion"}'), { binary: true });
  await sleep(300);
  c.ws.terminate();
  await nobodyNoticed();
});

test('what would end or escape the agent is refused by the filter, whoever drives', { timeout: 240000 * SLOW }, async () => {
  const c = await cdp(token);
  const { targetId } = (await c.call('Target.createTarget', { url: 'about:blank' })).result;
  const { sessionId } = (await c.call('Target.attachToTarget', { targetId, flatten: true })).result;
  const allowed = await c.call('Page.navigate', { url: 'about:blank' }, { sessionId });
  assert.ok(allowed.result, JSON.stringify(allowed));
  for (const [method, params] of [
    ['Browser.crash', {}],
    ['Browser.crashGpuProcess', {}],
    ['Page.navigate', { url: 'file:///etc/passwd' }],
    ['Target.createTarget', { url: 'file:///etc/passwd' }],
    ['Target.createTarget', { url: 'chrome://gpu' }],
    ['Tracing.start', {}],
    ['SystemInfo.getInfo', {}],
  ]) {
    const v = await c.call(method, params, /^(Page|Tracing)/.test(method) ? { sessionId } : {});
    assert.ok(v.error, `${method} ${JSON.stringify(params)} → ${JSON.stringify(v).slice(0, 200)}`);
  }
  await c.call('Browser.close').catch(() => {});
  await sleep(1000);
  c.ws.terminate();
  await nobodyNoticed();
  assert.equal((await a.show('one')).browser, 'up');
});

test('a 300 MiB message is refused with 1009, nobody else is disturbed', { timeout: 240000 * SLOW }, async () => {
  const c = await cdp(token);
  const piece = Buffer.alloc(1 << 20, 0x78);
  c.ws.send('{"id":7,"method":"Runtime.evaluate","params":{"expression":"', { fin: false });
  let sent = 0;
  for (; sent < 300 && c.ws.readyState === WebSocket.OPEN; sent++) {
    await new Promise((ok) => c.ws.send(piece, { fin: false, binary: false }, ok));
    if (sent % 50 === 0) await nobodyNoticed();
  }
  if (c.ws.readyState === WebSocket.OPEN) c.ws.send('"}}');
  await until('the connection ends', 60000, () => c.closed);
  assert.ok([1009, 1006].includes(c.closed.code), JSON.stringify(c.closed));
  assert.ok(sent >= 200, `ended after ${sent} MiB already`);
  await nobodyNoticed();
  const memory = await a.pids();
  const status = (await import('node:fs')).readFileSync(`/proc/${memory.gateway}/status`, 'utf8');
  assert.ok(Number(/VmHWM:\s+(\d+)/.exec(status)[1]) < (process.env.ASAN_OPTIONS ? 1024 : 128) * 1024, status.match(/VmHWM.*/)[0]);
});

test('a single frame of 300 MiB is refused as well', { timeout: 300000 * SLOW }, async () => {
  const s = net.connect(a.port, '127.0.0.1');
  let got = '';
  let ended = false;
  s.on('data', (d) => (got += d.toString('latin1')));
  s.on('error', () => {});
  s.on('close', () => (ended = true));
  s.write(upgrade());
  await until('the handshake', 60000, () => got.includes('\r\n\r\n'));
  s.write(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0x12, 0xc0, 0, 0, 0, 0, 0, 0])); // 300 MiB, mask 0
  const piece = Buffer.alloc(1 << 20, 0x20);
  const refused = () => ended || /\x88[\x02-\x7d]\x03\xf1/.test(got); // a close frame with 1009
  for (let sent = 0; sent < 300 && !refused(); sent++)
    if (!s.write(piece)) await new Promise((ok) => s.once('drain', ok).once('close', ok));
  await until('the refusal', 30000, refused);
  s.destroy();
  assert.match(got, /\x88[\x02-\x7d]\x03\xf1/);
  await nobodyNoticed();
});

test('after all that: the same processes, the same agents', { timeout: 150000 * SLOW }, async () => {
  const status = await a.json('status');
  const types = (await a.json('events')).events.filter((e) => e.seq > setUp).map((e) => e.type);
  assert.deepEqual(types.filter((t) => /^(gateway|agent|browser|daemon|policy)\./.test(t)), []);
  assert.equal(status.agents.running, 1);
  await nobodyNoticed();
});
