// The command line and the API on a running agent: exec, cp, open, screenshot, log, events, policy, metrics, the API's description.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Validator } from '@seriousme/openapi-schema-validator';
import { WebSocket } from 'ws';

import { Appliance, SLOW, until } from '../lib/appliance.mjs';
import { sha256 } from '../lib/flow.mjs';

let a;
let scratch;
before(
  async () => {
    scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-cli-'));
    a = await Appliance.start();
    await a.create('one', '--allow', 'shop.test', '--label', 'team=red', '--memory', '768', '--disk', '2');
  },
  { timeout: 200000 * SLOW },
);
after(async () => {
  fs.rmSync(scratch, { recursive: true, force: true });
  await a?.destroy();
}, { timeout: 180000 * SLOW });

test('status, ls, show', { timeout: 150000 * SLOW }, async () => {
  const status = await a.json('status');
  assert.equal(status.agents.running, 1);
  const show = await a.json('show', 'one');
  assert.equal(show.name, 'one');
  assert.equal(show.state, 'running');
  assert.equal(show.memory_mib, 768);
  assert.deepEqual(show.labels, { team: 'red' });
  assert.match(show.created_at, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.match(show.urls.cdp, /^ws:/);
  assert.deepEqual((await a.json('ls', '--label', 'team=red')).agents.map((x) => x.name), ['one']);
  assert.deepEqual((await a.json('ls', '--label', 'team=blue')).agents, []);
  assert.match((await a.lines('ls')).join('\n'), /one\s+running/);
});

test('exec: arguments, output, exit status, signals, user, environment, folder', { timeout: 120000 * SLOW }, async () => {
  let r = await a.tryCli('exec', 'one', '--', 'sh', '-c', 'echo out; echo err >&2; exit 7');
  assert.equal(r.status, 7);
  assert.equal(r.stdout.toString(), 'out\n');
  assert.equal(r.stderr, 'err\n');
  r = await a.exec('one', 'printf', '%s|', 'a b', '', '$HOME', '日本');
  assert.equal(r.stdout, 'a b||$HOME|日本|');
  r = await a.exec('one', 'sh', '-c', 'id -un; pwd; kill -TERM $$');
  assert.equal(r.stdout, 'agent\n/home/agent\n');
  assert.equal(r.status, 128 + 15);
  r = await a.tryCli('exec', 'one', '--user', 'root', '--cwd', '/tmp', '--env', 'COLOUR=blue', '--', 'sh', '-c', 'id -u; pwd; echo $COLOUR');
  assert.equal(r.stdout.toString(), '0\n/tmp\nblue\n');
  r = await a.exec('one', '/no/such/program');
  assert.notEqual(r.status, 0);
  assert.match(r.stderr, /no\/such\/program|No such file/);
});

test('exec: stdin and stdout are streams of any size', { timeout: 180000 * SLOW }, async () => {
  const data = crypto.randomBytes(8 << 20);
  const r = await a.tryCli('exec', 'one', '-i', '--', 'sha256sum', { input: data, timeout: 90000 * SLOW });
  assert.equal(r.status, 0, r.stderr);
  assert.equal(r.stdout.toString().slice(0, 64), sha256(data));
  const big = await a.tryCli('exec', 'one', '--', 'sh', '-c', 'head -c 8388608 /dev/zero; echo end >&2', { timeout: 90000 * SLOW });
  assert.equal(big.stdout.length, 8388608);
  assert.equal(big.stderr, 'end\n');
});

test('exec over JSON: bytes that are not text, time-outs, bounded output', { timeout: 120000 * SLOW }, async () => {
  let r = await a.api('POST', '/v1/agents/one/exec', { cmd: ['sh', '-c', 'printf "\\377\\000"; cat'], stdin: 'in' });
  assert.equal(r.status, 200);
  assert.equal(r.body.exit_status, 0);
  assert.deepEqual(Buffer.from(r.body.stdout_base64, 'base64'), Buffer.from([0xff, 0, 0x69, 0x6e]));
  r = await a.api('POST', '/v1/agents/one/exec', { cmd: ['sleep', '60'], timeout: 2 });
  assert.equal(r.body.timed_out, true);
  r = await a.api('POST', '/v1/agents/one/exec', { cmd: ['head', '-c', '5000', '/dev/zero'], max_output: 1000 });
  assert.equal(r.body.truncated, true);
  assert.equal((r.body.stdout ?? Buffer.from(r.body.stdout_base64, 'base64')).length, 1000);
});

test('exec over WebSocket with a terminal', { timeout: 150000 * SLOW }, async () => {
  const ws = new WebSocket(`ws://127.0.0.1:${a.port}/v1/agents/one/exec?token=${a.token}`, 'berth.exec.v1');
  const out = [];
  let end;
  ws.on('message', (m, binary) => (binary ? out.push(m.subarray(1)) : (end = JSON.parse(m))));
  await new Promise((ok, no) => ws.on('open', ok).on('error', no));
  ws.send(JSON.stringify({ cmd: ['sh', '-c', 'stty size; read line; echo "got $line"'], env: {}, cwd: '', user: '', tty: true, rows: 40, columns: 132 }));
  await until('the size', 60000, () => Buffer.concat(out).includes('40 132'));
  ws.send(Buffer.concat([Buffer.from([0]), Buffer.from('hello\n')]));
  await new Promise((ok) => ws.on('close', ok));
  assert.match(Buffer.concat(out).toString(), /got hello/);
  assert.equal(end.exit_status, 0);
});

test('cp: files and folders both ways', { timeout: 180000 * SLOW }, async () => {
  const data = crypto.randomBytes(3 << 20);
  fs.writeFileSync(`${scratch}/big`, data);
  await a.cli('cp', `${scratch}/big`, 'one:Uploads/');
  assert.equal((await a.exec('one', 'sha256sum', 'Uploads/big')).stdout.slice(0, 64), sha256(data));
  await a.cli('cp', 'one:Uploads/big', `${scratch}/back`);
  assert.equal(sha256(fs.readFileSync(`${scratch}/back`)), sha256(data));
  fs.mkdirSync(`${scratch}/tree/deep`, { recursive: true });
  fs.writeFileSync(`${scratch}/tree/deep/üñí.txt`, 'text');
  fs.writeFileSync(`${scratch}/tree/empty`, '');
  fs.writeFileSync(`${scratch}/tree/run.sh`, '#!/bin/sh\necho ran\n', { mode: 0o755 });
  await a.cli('cp', `${scratch}/tree`, 'one:.');
  assert.equal((await a.exec('one', './tree/run.sh')).stdout, 'ran\n');
  await a.cli('cp', 'one:tree', `${scratch}/from`);
  const found = fs.readdirSync(`${scratch}/from`, { recursive: true }).sort().join(' ');
  assert.match(found, /deep\/üñí\.txt/);
  assert.match(found, /run\.sh/);
  const gone = await a.tryCli('cp', 'one:no/such', `${scratch}/x`);
  assert.equal(gone.status, 1);
  assert.ok(!fs.existsSync(`${scratch}/x`));
});

test('cp: a guest that lies cannot write outside the destination', { timeout: 120000 * SLOW }, async () => {
  await a.exec('one', 'sh', '-c', 'mkdir -p evil && cd evil && ln -s /tmp out && ln -s ../../../.. up && echo x > ok && mkfifo pipe && ln -s /etc/passwd p && chmod 4755 ok');
  const target = `${scratch}/evil`;
  await a.tryCli('cp', 'one:evil', target);
  const files = fs.existsSync(target) ? fs.readdirSync(target, { recursive: true }) : [];
  for (const f of files) {
    const st = fs.lstatSync(path.join(target, f));
    assert.ok(st.isFile() || st.isDirectory(), `${f} is neither file nor folder`);
    assert.equal(st.mode & 0o6000, 0, `${f} is set-id`);
  }
  assert.ok(!fs.existsSync('/tmp/ok'));
});

test('open and screenshot, in each format', { timeout: 120000 * SLOW }, async () => {
  const opened = await a.json('open', 'one', 'http://shop.test/world');
  assert.equal(opened.url, 'http://shop.test/world');
  assert.equal(opened.title, 'World');
  for (const [ending, magic] of [
    ['png', '\x89PNG'],
    ['jpg', '\xff\xd8\xff'],
    ['webp', 'RIFF'],
  ]) {
    await a.cli('screenshot', 'one', `${scratch}/shot.${ending}`);
    const bytes = fs.readFileSync(`${scratch}/shot.${ending}`);
    assert.equal(bytes.toString('latin1', 0, magic.length), magic);
    assert.ok(bytes.length > 2000);
  }
  const refused = await a.tryCli('open', 'one', 'http://bank.test/', { timeout: 90000 * SLOW });
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /bank\.test|ERR_|not allowed/);
});

test('log and events: who did what, in order; followed live', { timeout: 120000 * SLOW }, async () => {
  const log = await a.json('log', 'one');
  const types = log.events.map((e) => e.type);
  for (const t of ['agent.created', 'agent.running', 'browser.up']) assert.ok(types.includes(t), `${t} in ${types}`);
  assert.ok(log.events.every((e, i) => i === 0 || e.seq > log.events[i - 1].seq));
  const stream = await fetch(`${a.base}/v1/events`, { headers: { authorization: `Bearer ${a.token}`, accept: 'text/event-stream' }, signal: AbortSignal.timeout(60000 * SLOW) });
  assert.match(stream.headers.get('content-type'), /text\/event-stream/);
  const reader = stream.body.getReader();
  await a.cli('policy', 'one', 'allow', 'cdn.test');
  let text = '';
  while (!text.includes('policy.changed')) text += new TextDecoder().decode((await reader.read()).value);
  await reader.cancel();
  await a.cli('policy', 'one', 'remove', 'cdn.test');
});

test('files over the API: list, put, get, delete', { timeout: 90000 * SLOW }, async () => {
  const where = '/v1/agents/one/files/Uploads/new.txt';
  assert.ok((await a.api('PUT', where, Buffer.from('content'), { headers: { 'content-type': 'application/octet-stream' } })).status < 300);
  assert.equal((await a.api('GET', where)).raw.toString(), 'content');
  assert.match(JSON.stringify((await a.api('GET', '/v1/agents/one/files/Uploads?list=1')).body), /new\.txt/);
  assert.ok((await a.api('DELETE', where)).status < 300);
  assert.equal((await a.api('GET', where)).status, 404);
  // Only what the user `agent` may: not the system's secrets.
  assert.ok([403, 404].includes((await a.api('GET', '/v1/agents/one/files//etc/shadow')).status));
});

test('/openapi.json passes a validator and names the routes; /healthz and /metrics answer', { timeout: 150000 * SLOW }, async () => {
  const r = await a.api('GET', '/openapi.json', undefined, { token: null });
  assert.equal(r.status, 200);
  const result = await new Validator().validate(r.body);
  assert.ok(result.valid, JSON.stringify(result.errors, null, 1)?.slice(0, 3000));
  for (const p of ['/v1/agents', '/v1/agents/{agent}', '/v1/tokens', '/v1/status']) assert.ok(Object.keys(r.body.paths).some((k) => k.replace(/\{\w+\}/, '{agent}') === p), p);
  assert.equal((await a.api('GET', '/healthz', undefined, { token: null })).status, 200);
  assert.equal((await a.api('GET', '/metrics', undefined, { token: null })).status, 401);
  const metrics = await a.api('GET', '/metrics');
  assert.equal(metrics.status, 200);
  assert.match(metrics.raw.toString(), /^# TYPE berth_/m);
});

test('long requests tell their progress', { timeout: 180000 * SLOW }, async () => {
  const r = await a.api('POST', '/v1/agents/one/restart', undefined, { headers: { accept: 'text/event-stream' }, timeout: 150000 * SLOW });
  assert.equal(r.status, 200);
  const text = r.raw.toString();
  assert.match(text, /event: progress\ndata: \{"step"/);
  assert.match(text, /event: result\n/);
});
