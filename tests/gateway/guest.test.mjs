// Commands and files, over a guest channel whose other end is honest, slow, or lies.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { Readable } from 'node:stream';
import { after, before, beforeEach, test } from 'node:test';
import { World, sleep, until } from './lib.mjs';
import { WebSocket } from './ws.mjs';
import { lies } from './guest.mjs';

let w;
before(async () => { w = await World.start(); });
after(() => w.stop());
beforeEach(() => { w.guest.lie = null; w.guest.helperExit = null; });

const exec = (json, o = {}) => w.request('POST', '/v1/agents/demo/exec', { json, token: 'agent-token', ...o });
const memory = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${w.gateway.pid}/status`, 'utf8'))[1]) / 1024;

test('a command with its input, output and status', async () => {
  const r = await exec({ cmd: ['sh', '-c', 'cat; echo "$A" >&2; exit 3'], stdin: 'hällo', env: { A: 'b=c' } });
  assert.deepEqual(r.json, { exit_status: 3, signal: null, stdout: 'hällo', stderr: 'b=c\n', truncated: false, timed_out: false });
  const binary = await exec({ cmd: ['cat'], stdin_base64: Buffer.from([255, 0, 1]).toString('base64') });
  assert.equal(binary.json.stdout_base64, '/wAB');
  const cut = await exec({ cmd: ['sh', '-c', 'yes | head -c 300000'], max_output: 1000 });
  assert.deepEqual([cut.json.stdout.length, cut.json.truncated], [1000, true]);
  const killed = await exec({ cmd: ['sh', '-c', 'kill -9 $$'] });
  assert.deepEqual([killed.json.exit_status, killed.json.signal], [null, 9]);
});

test('bad commands', async () => {
  for (const json of [{}, { cmd: [] }, { cmd: [''] }, { cmd: ['a'], x: 1 }, { cmd: ['a'], env: { 'A=B': 'c' } }, { cmd: Array(300).fill('a') },
    { cmd: ['a'.repeat(70000)] }, { cmd: ['a'], stdin: 'a', stdin_base64: 'YQ==' }, { cmd: ['a'], stdin_base64: '?' }, { cmd: ['a'], timeout: 0 }])
    assert.equal((await exec(json)).status, 400, JSON.stringify(json).slice(0, 60));
  const none = await exec({ cmd: ['/does/not/exist'] });
  assert.deepEqual([none.status, none.json.type], [422, 'exec-failed']);
  assert.match(none.json.detail, /No such file/);
});

test('a command over its time is killed', async () => {
  const r = await exec({ cmd: ['sh', '-c', 'echo begun; sleep 6000'], timeout: 1 });
  assert.deepEqual([r.status, r.json.timed_out, r.json.stdout], [200, true, 'begun\n']);
});

for (const lie of Object.keys(lies)) {
  test(`a lying guest: ${lie}`, async () => {
    w.guest.lie = lie;
    const r = await exec({ cmd: ['x'] });
    assert.deepEqual([r.status, r.json.type], [502, 'guest-failed'], r.text);
    w.guest.lie = null;
    assert.equal((await exec({ cmd: ['true'] })).json.exit_status, 0);
  });
}

test('endless output: bounded by size and time, memory stays', async () => {
  const r = await exec({ cmd: ['/endless'], timeout: 2, max_output: 5000 });
  assert.deepEqual([r.status, r.json.timed_out, r.json.truncated, r.json.stdout.length], [200, true, true, 5000]);
});

// ---- WebSocket ----

async function session(first, { token = 'agent-token' } = {}) {
  const ws = await WebSocket.open(w.port, '/v1/agents/demo/exec', { headers: { authorization: `Bearer ${token}` }, protocol: 'berth.exec.v1' });
  const s = { ws, out: '', err: '', last: null };
  ws.onMessage = (data, text) => {
    if (text) s.last = JSON.parse(data);
    else if (data[0] === 1) s.out += data.subarray(1).toString('latin1');
    else s.err += data.subarray(1).toString('latin1');
  };
  s.stdin = (d) => ws.send(Buffer.concat([Buffer.from([0]), Buffer.from(d)]));
  s.control = (o) => ws.send(Buffer.concat([Buffer.from([3]), Buffer.from(JSON.stringify(o))]));
  s.end = () => until('the end', () => ws.closed).then(() => s);
  if (first) ws.send(typeof first === 'string' || Buffer.isBuffer(first) ? first : JSON.stringify(first));
  return s;
}

test('a session: both ways, a signal, a window', async () => {
  const s = await session({ cmd: ['sh', '-c', 'cat; echo done >&2; exit 4'] });
  assert.equal(s.ws.protocol, 'berth.exec.v1');
  s.stdin('one');
  s.stdin('two');
  await until('the echo', () => s.out === 'onetwo');
  s.stdin('');
  await s.end();
  assert.deepEqual([s.err, s.last, s.ws.closeCode], ['done\n', { exit_status: 4, signal: 0 }, 1000]);

  const k = await session({ cmd: ['sleep', '60'], tty: false, rows: 24, columns: 80 });
  await until('the start', () => w.guest.lastStart?.argv[0] === 'sleep');
  k.control({ rows: 40, columns: 120 });
  await until('the window', () => w.guest.windows.at(-1)?.join() === '40,120');
  k.control({ signal: 15 });
  await k.end();
  assert.equal(k.last.signal, 15);
});

test('a session that goes wrong ends with a problem', async () => {
  for (const [name, first, then] of [['not JSON', 'x'], ['unknown field', '{"cmd":["a"],"y":1}'], ['binary first', Buffer.from('{}')],
    ['a wrong channel', { cmd: ['cat'] }, (s) => s.ws.send(Buffer.from([9, 1]))], ['text later', { cmd: ['cat'] }, (s) => s.ws.send('hi')],
    ['a wrong signal', { cmd: ['cat'] }, (s) => s.control({ signal: 1000 })], ['too long', 'x'.repeat(70000)]]) {
    const s = await session(first);
    then?.(s);
    await s.end();
    assert.ok(s.last.error.status >= 400 && s.last.error.status < 500, name);
  }
  const bad = await WebSocket.open(w.port, '/v1/agents/demo/exec', { headers: { authorization: 'Bearer viewer-token' } }).catch((e) => e);
  assert.equal(bad.status, 403);
});

test('a command that cannot start: the reason once, in one message, and a close frame', async () => {
  const cmd = ['/no/such/command'], detail = 'the command could not be started: No such file or directory';
  const s = await session(null), messages = [];
  s.ws.onMessage = (data, text) => messages.push([text, data]);
  s.ws.send(JSON.stringify({ cmd }));
  for (let i = 0; i < 4; i++) s.stdin('x'.repeat(1 << 20)); // input that nobody reads
  s.stdin('');
  await s.end();
  assert.deepEqual(messages.map(([text, data]) => [text, JSON.parse(data).error.detail]), [[true, detail]]);
  assert.equal(JSON.parse(messages[0][1]).error.type, 'exec-failed');
  assert.equal(s.ws.closeCode, 1000);
  const r = await exec({ cmd });
  assert.deepEqual([r.status, r.json.type, r.json.detail], [422, 'exec-failed', detail]);
});

test('text that is not UTF-8 ends the WebSocket with 1007', async () => {
  const s = await session(null);
  s.ws.sendFrame(1, Buffer.from([0x7b, 0xff]), true);
  await s.end();
  assert.equal(s.ws.closeCode, 1007);
});

test('fragments, pings between them, and broken frames', async () => {
  const s = await session(null);
  s.ws.sendFrame(1, Buffer.from('{"cmd":'), false);
  s.ws.sendFrame(9, Buffer.from('ping'), true);
  s.ws.sendFrame(0, Buffer.from('["echo","hi"]}'), true);
  await s.end();
  assert.deepEqual([s.out, s.ws.pongs], ['hi\n', ['ping']]);
  for (const frame of [[0x83, 0x80, 0, 0, 0, 0], [0xf1, 0x80, 0, 0, 0, 0], [0x09, 0x80, 0, 0, 0, 0], [0x81, 0x01, 0x41]]) {
    const b = await session(null);
    b.ws.socket.write(Buffer.from(frame));
    await b.end();
  }
});

test('a frame that is not masked ends the WebSocket with 1002, wherever it comes', async () => {
  const masked = (first, text) => Buffer.concat([Buffer.from([first, 0x80 | text.length, 1, 2, 3, 4]), Buffer.from(text).map((c, i) => c ^ (1 + (i & 3)))]);
  const plain = (first, text) => Buffer.concat([Buffer.from([first, text.length]), Buffer.from(text)]);
  const start = masked(0x81, '{"cmd":["cat"]}'), word = '\0hello';
  for (const [what, bytes] of [['first', plain(0x81, '{"cmd":["echo"]}')], ['empty', plain(0x81, '')], ['a ping', plain(0x89, 'p')], ['a close', plain(0x88, '')],
    ['long', Buffer.from([0x82, 126, 1, 0])], ['after a masked one', Buffer.concat([start, masked(0x82, word), plain(0x82, word)])],
    ['inside a message', Buffer.concat([masked(0x01, '{"cmd":'), plain(0x80, '["echo"]}')])]]) {
    for (const step of [1, 1000]) {
      const s = await session(null);
      s.ws.socket.setNoDelay(true);
      for (let i = 0; i < bytes.length; i += step) { s.ws.socket.write(bytes.subarray(i, i + step)); if (step === 1) await sleep(1); }
      await s.end();
      assert.equal(s.ws.closeCode, 1002, `${what}, ${step} at once`);
    }
  }
  // Together with the handshake.
  const all = await w.raw(['GET /v1/agents/demo/exec HTTP/1.1', `Host: 127.0.0.1:${w.port}`, 'Authorization: Bearer agent-token', 'Upgrade: websocket', 'Connection: Upgrade',
    'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', plain(0x81, '{"cmd":["echo"]}').toString('latin1')].join('\r\n'));
  assert.match(all, /^HTTP\/1\.1 101[^]*\x88.\x03\xea/);
});

test('masked frames in single bytes', async () => {
  const s = await session(null), bytes = [];
  s.ws.socket.setNoDelay(true);
  const write = s.ws.socket.write.bind(s.ws.socket);
  s.ws.socket.write = (b) => bytes.push(b);
  s.ws.send('{"cmd":["cat"]}');
  s.stdin('x'.repeat(300));
  s.stdin('');
  for (const byte of Buffer.concat(bytes)) { write(Buffer.from([byte])); await sleep(1); }
  s.ws.socket.write = write;
  await s.end();
  assert.deepEqual([s.out, s.last], ['x'.repeat(300), { exit_status: 0, signal: 0 }]);
});

test('a client that does not read stops the guest, not the gateway', async () => {
  const s = await session(null);
  s.ws.socket.pause();
  s.ws.send(JSON.stringify({ cmd: ['/endless'] }));
  await until('the guest to stall', async () => { const a = w.guest.sent; await sleep(500); return a > 0 && a === w.guest.sent; });
  assert.ok(w.guest.sent < 64e6, `${w.guest.sent}`);
  assert.ok(memory() < 600, `${memory()} MiB`);
  s.ws.socket.destroy();
});

test('a guest that does not read stops the client, not the gateway', async () => {
  const s = await session({ cmd: ['sleep', '60'] });
  await until('the start', () => w.guest.lastStart?.argv[0] === 'sleep');
  let sent = 0;
  const block = Buffer.alloc(65536);
  // The kernel's buffers on the way hold much, and grow: until nothing has moved for a second.
  for (let still = 0; still < 5 && sent < 200e6;) {
    const before = s.ws.socket.writableLength;
    for (let i = 0; i < 100 && s.ws.socket.writableLength < 4e6; i++) { s.stdin(block); sent += 65536; await new Promise(setImmediate); }
    await sleep(200);
    still = before > 0 && before === s.ws.socket.writableLength ? still + 1 : 0;
  }
  assert.ok(sent < 150e6, `${sent}: everything went through`);
  assert.ok(memory() < 600, `${memory()} MiB`);
  s.ws.socket.destroy();
  for (const g of w.guest.sockets) g.destroy(); // a paused one does not see the end
});

test('a big stream both ways is whole', async () => {
  const data = crypto.randomBytes(8 << 20);
  const s = await session({ cmd: ['cat'] });
  const parts = [];
  s.ws.onMessage = (d, text) => { if (text) s.last = JSON.parse(d); else parts.push(d.subarray(1)); };
  for (let i = 0; i < data.length; i += 100000) { s.stdin(data.subarray(i, i + 100000)); await new Promise(setImmediate); }
  s.stdin('');
  await until('the end', () => s.ws.closed);
  assert.equal(Buffer.compare(Buffer.concat(parts), data), 0);
});

test('the client leaves: the command is ended', async () => {
  const s = await session({ cmd: ['sleep', '61'] });
  await until('the start', () => [...w.guest.sockets].some((x) => x.child));
  s.ws.socket.destroy();
  await until('its end', () => w.guest.sockets.size === 0);
});

// ---- Files ----

const file = (method, target, o = {}) => w.request(method, `/v1/agents/demo/files/${target}`, { token: 'agent-token', ...o });

test('a file comes and goes', async () => {
  const bytes = crypto.randomBytes(3 << 20);
  w.guest.helperExit = { stdout: bytes };
  const r = await file('GET', 'Downloads/a%20b.bin');
  assert.deepEqual([r.status, Buffer.compare(r.bytes, bytes)], [200, 0]);
  assert.deepEqual(w.guest.lastStart.argv, ['berth-init', 'file', 'get', 'Downloads/a b.bin']);
  w.guest.helperExit = { keep: true };
  assert.equal((await file('PUT', '%2Ftmp%2Fx?mode=0640', { body: bytes })).status, 204);
  assert.deepEqual(w.guest.lastStart.argv, ['berth-init', 'file', 'put', '/tmp/x', '0640']);
  assert.equal(Buffer.compare(Buffer.concat(w.guest.chunks), bytes), 0);
  assert.equal((await file('PUT', 'y', { body: Readable.from([Buffer.from('ab'), bytes]) })).status, 204);
  assert.equal(w.guest.received, bytes.length + 2);
  assert.equal((await file('PUT', 'empty', { body: '' })).status, 204);
  assert.equal((await file('PUT', 'dir?format=tar', { body: 'x' })).status, 204);
  assert.deepEqual(w.guest.lastStart.argv, ['berth-init', 'file', 'untar', 'dir']);
  assert.equal((await file('DELETE', 'x')).status, 204);
  assert.deepEqual(w.guest.lastStart.argv, ['berth-init', 'file', 'rm', 'x']);
});

test('what the helper says becomes a status', async () => {
  for (const [code, status, type] of [[2, 404, 'file-not-found'], [3, 403, 'forbidden'], [4, 409, 'wrong-state'], [5, 409, 'wrong-state'],
    [6, 507, 'disk-full'], [7, 409, 'wrong-state'], [1, 502, 'guest-failed'], [77, 502, 'guest-failed']]) {
    w.guest.helperExit = { code, stderr: 'why\x1b[2J not\n' };
    const r = await file('GET', 'x');
    assert.deepEqual([r.status, r.json.type], [status, type]);
    assert.ok(!/\x1b/.test(r.json.detail));
  }
  w.guest.helperExit = { code: 1, stdout: Buffer.from('half') };
  await assert.rejects(file('GET', 'x'), 'half a file passed for a whole one');
  w.guest.helperExit = { early: true };
  assert.equal((await file('PUT', 'x', { body: Readable.from((async function* () { yield 'a'; await sleep(300); yield 'b'; })()) })).status, 502);
});

test('a list, and lists that lie', async () => {
  w.guest.helperExit = { stdout: Buffer.from('f 0644 12 1700000000 a b\0d 0755 4096 1700000001 ünder\0') };
  const r = await file('GET', '?list=1');
  assert.deepEqual(r.json.entries.map((e) => [e.name, e.size, e.modified]), [['a b', 12, '2023-11-14T22:13:20.000Z'], ['ünder', 4096, '2023-11-14T22:13:21.000Z']]);
  assert.deepEqual(w.guest.lastStart.argv.slice(2), ['list', '.']);
  for (const lie of ['f 0644 12 1700000000 unterminated', 'f 0644 12\0', 'f 9999 12 1 x\0', 'f 0644 -1 1 x\0', 'q 0644 1 1 x\0', '\0', 'f 0644 1 1 \0']) {
    w.guest.helperExit = { stdout: Buffer.from(lie) };
    assert.equal((await file('GET', '?list=1')).status, 502, JSON.stringify(lie));
  }
});

test('bad paths and queries', async () => {
  w.guest.helperExit = {};
  for (const t of ['a%00b', 'a%zz', 'a%', 'x?format=zip', 'x?list=2', 'x?mode=999']) assert.equal((await file('GET', t)).status, 400, t);
  assert.equal((await file('GET', 'a'.repeat(9000))).status, 414);
  assert.equal((await file('GET', 'x', { token: 'viewer-token' })).status, 403);
});

test('a download nobody reads stops the guest', async () => {
  const q = http.request({ host: '127.0.0.1', port: w.port, path: '/v1/agents/demo/files/x', headers: { authorization: 'Bearer agent-token' } });
  w.guest.helperExit = { stdout: Buffer.alloc(64 << 20) };
  q.end();
  const res = await new Promise((r) => q.on('response', r));
  await sleep(1500);
  assert.ok(memory() < 600, `${memory()} MiB`);
  let n = 0;
  for await (const d of res) n += d.length;
  assert.equal(n, 64 << 20);
});

test('an upload the client breaks off never looks whole', async () => {
  w.guest.helperExit = {};
  const q = http.request({ host: '127.0.0.1', port: w.port, method: 'PUT', path: '/v1/agents/demo/files/x',
    headers: { authorization: 'Bearer agent-token', 'content-length': 1000 } });
  q.on('error', () => {});
  q.write('half');
  await until('the half', () => w.guest.received === 4);
  q.destroy();
  await until('the cut', () => w.guest.sockets.size === 0);
  assert.equal(w.guest.received, 4);
});
