// Commands and files in a real guest, which gateways of several builds get to one after the other.
// BERTH_IMAGE: an image's folder; BERTH_BUILDS: build folders; needs root and QEMU.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import readline from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { World, until } from './lib.mjs';
import { WebSocket } from './ws.mjs';

const image = process.env.BERTH_IMAGE ?? 'build/images/none';
const skip = process.getuid() !== 0 ? 'needs root' : !fs.existsSync(path.join(image, 'rootfs.erofs')) ? 'no guest image' : false;
const builds = (process.env.BERTH_BUILDS ?? process.env.BERTH_BUILD ?? 'build').split(' ').map((b) => path.resolve(b));
let w, guest, folder, port;

before(async () => {
  if (skip) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-gateway-guest-'));
  guest = spawn('python3', [fileURLToPath(new URL('real-guest.py', import.meta.url)), fs.realpathSync(image), folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  port = await new Promise((r, x) => { readline.createInterface(guest.stdout).once('line', r); guest.once('exit', () => x(new Error('the guest did not boot'))); });
}, { timeout: 240000 });
after(async () => {
  if (skip) return;
  const gone = new Promise((r) => guest.once('exit', r));
  guest.stdin.end();
  await gone;
  fs.rmSync(folder, { recursive: true, force: true });
});

const exec = (json) => w.request('POST', '/v1/agents/demo/exec', { json });
const file = (method, target, o = {}) => w.request(method, `/v1/agents/demo/files/${target}`, o);

for (const build of builds) {
  describe(path.basename(build), { skip }, () => {
    before(async () => { w = await World.start({ guestPort: Number(port), build }); });
    after(() => w?.stop());
    test('commands', { timeout: 240000 }, commands);
    test('files and folders', { timeout: 240000 }, filesAndFolders);
    test('a session with a terminal', { timeout: 240000 }, terminal);
  });
}

async function commands() {
  const r = await exec({ cmd: ['sh', '-c', 'id -un; pwd; echo "$GREETING" >&2; cat; exit 7'], env: { GREETING: 'hej' }, stdin: 'in' });
  assert.deepEqual(r.json, { exit_status: 7, signal: null, stdout: 'agent\n/home/agent\nin', stderr: 'hej\n', truncated: false, timed_out: false });
  assert.equal((await exec({ cmd: ['id', '-u'], user: 'root', cwd: '/' })).json.stdout, '0\n');
  assert.deepEqual((({ status, json }) => [status, json.type])(await exec({ cmd: ['/no/such/program'] })), [422, 'exec-failed']);
  const late = await exec({ cmd: ['sleep', '600'], timeout: 2 });
  assert.deepEqual([late.json.timed_out, late.json.signal], [true, 9]);
  const big = await exec({ cmd: ['sh', '-c', 'head -c 20000000 /dev/zero'] });
  assert.deepEqual([big.json.truncated, Buffer.from(big.json.stdout_base64, 'base64').length], [true, 10 << 20]);
}

async function filesAndFolders() {
  await exec({ cmd: ['rm', '-rf', 'Uploads/deep', 'copy'] }); // of the build before
  const bytes = crypto.randomBytes(5 << 20);
  assert.equal((await file('PUT', 'Uploads/deep/er/a%20b?mode=0640', { body: bytes })).status, 204);
  assert.equal(Buffer.compare((await file('GET', 'Uploads/deep/er/a%20b')).bytes, bytes), 0);
  assert.equal((await exec({ cmd: ['stat', '-c', '%a %U %s', 'Uploads/deep/er/a b'] })).json.stdout, `640 agent ${bytes.length}\n`);
  const list = await file('GET', 'Uploads/deep?list=1');
  assert.deepEqual(list.json.entries.map((e) => e.name), ['er'], list.text);
  const tar = await file('GET', 'Uploads/deep?format=tar');
  const names = spawnSync('tar', ['-t'], { input: tar.bytes, encoding: 'utf8' }).stdout;
  assert.match(names, /er\/a b/);
  assert.equal((await file('PUT', 'copy?format=tar', { body: tar.bytes })).status, 204);
  assert.match((await exec({ cmd: ['find', 'copy', '-type', 'f'] })).json.stdout, /a b\n$/);
  for (const [method, target, status] of [['GET', 'nowhere', 404], ['GET', 'Uploads', 409], ['GET', '%2Fetc%2Fshadow', 403], ['PUT', '%2Fetc%2Fx', 403],
    ['GET', 'Uploads/deep/er/a%20b?list=1', 409], ['DELETE', 'nowhere', 404]])
    assert.equal((await file(method, target, method === 'PUT' ? { body: 'x' } : {})).status, status, `${method} ${target}`);
  assert.equal((await file('DELETE', 'Uploads/deep')).status, 204);
  assert.equal((await file('GET', 'Uploads/deep?list=1')).status, 404);
}

async function terminal() {
  const ws = await WebSocket.open(w.port, '/v1/agents/demo/exec', { headers: { authorization: 'Bearer admin-token' }, protocol: 'berth.exec.v1' });
  let out = '', last;
  ws.onMessage = (d, text) => { if (text) last = JSON.parse(d); else out += d.subarray(1); };
  ws.send(JSON.stringify({ cmd: ['sh', '-c', 'tty; stty size; read x; stty size; echo got $x; exit 5'], tty: true, rows: 11, columns: 22 }));
  await until('the size', () => /\/dev\/pts\/\d+\r\n11 22\r\n/.test(out), 60000);
  ws.send(Buffer.concat([Buffer.from([3]), Buffer.from('{"rows":33,"columns":44}')]));
  ws.send(Buffer.from('\0hello\r'));
  await until('the end', () => ws.closed, 60000);
  assert.match(out, /33 44\r\ngot hello\r\n/);
  assert.deepEqual(last, { exit_status: 5, signal: 0 });
}
