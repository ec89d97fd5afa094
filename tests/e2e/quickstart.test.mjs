// ./quickstart from a copy of the sources, twice: a real page in demo.png each time, and the second time nothing is built or made.
// The image is there already (no mirror can be reached from here); packages are, too.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { Appliance, SLOW, remains, resetInternet, internet, run } from '../lib/appliance.mjs';

const TOP = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const PLAIN = process.env.BERTH_PLAIN_IMAGES ?? path.join(TOP, 'build/images');
const reason = fs.existsSync(PLAIN) && fs.readdirSync(PLAIN).some((n) => fs.existsSync(path.join(PLAIN, n, 'manifest.json')))
  ? false
  : `no image in ${PLAIN}; the suite guest-image builds it`;
let dir;
let a;
let env;

before(() => {
  if (reason) return;
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-quickstart-'));
  fs.chmodSync(dir, 0o711);
  execFileSync('sh', ['-c', `cd '${TOP}' && git ls-files -z | xargs -0 cp --parents -t '${dir}' --`]);
  a = new Appliance(path.join(dir, 'state'), 7980);
  fs.mkdirSync(`${a.state}/images`, { recursive: true });
  fs.chmodSync(a.state, 0o711);
  for (const id of fs.readdirSync(PLAIN)) execFileSync('cp', ['-a', path.join(PLAIN, id), `${a.state}/images/`]);
  env = { BERTH_STATE: a.state, BERTH_PREFIX: `${dir}/prefix`, BERTH_LISTEN: '127.0.0.1:7980', PATH: `${dir}/prefix/bin:${process.env.PATH}` };
});
after(
  async () => {
    if (!dir) return;
    const r = await run('sh', ['-c', 'berth down'], { env, timeout: 120000 }).catch((e) => ({ status: 1, stderr: e.message }));
    execFileSync('rm', ['-rf', dir]);
    assert.equal(r.status, 0, r.stderr);
  },
  { timeout: 180000 * SLOW },
);

async function failing(...args) {
  const r = await run('sh', ['-c', `cd '${dir}' && exec ./quickstart "$@"`, 'sh', ...args], { env, timeout: 500000 });
  return { status: r.status, text: r.stdout.toString(), said: r.stderr.toString() };
}

async function quickstart(...args) {
  const begin = Date.now();
  fs.rmSync(`${dir}/demo.png`, { force: true });
  const r = await run('sh', ['-c', `cd '${dir}' && exec ./quickstart "$@"`, 'sh', ...args], { env, timeout: 500000 });
  assert.equal(r.status, 0, `${r.stdout.toString().slice(-3000)}\n${r.stderr.slice(-3000)}`);
  const picture = fs.readFileSync(`${dir}/demo.png`);
  assert.equal(picture.toString('latin1', 1, 4), 'PNG');
  return { text: r.stdout.toString(), picture, seconds: (Date.now() - begin) / 1000 };
}

test('the first time: builds, installs, starts, and shows the start page that the guest fetched', { skip: reason, timeout: 550000 * SLOW }, async () => {
  const { text, picture } = await quickstart();
  assert.match(text, /ws:\/\/127\.0\.0\.1:7980\/v1\/agents\/demo\/cdp\?token=/);
  assert.match(text, /Playwright/);
  assert.ok(picture.length > 5000, `${picture.length} bytes`);
  const log = JSON.parse((await run('berth', ['policy', 'demo', 'log', '--json'], { env })).stdout);
  assert.ok(log.entries.some((e) => e.name === 'start.berth.internal' && e.verdict === 'allow'), JSON.stringify(log));
});

test('again, with a URL: that site and its own names only', { skip: reason, timeout: 300000 * SLOW }, async (t) => {
  const there = async () => {
    const agent = JSON.parse((await run('berth', ['show', 'demo', '--json'], { env })).stdout);
    const built = fs.statSync(`${dir}/build/quickstart/appliance/berthd`).mtimeMs;
    return { id: agent.id, pid: agent.pid, images: fs.readdirSync(`${a.state}/images`), built };
  };
  const was = await there();
  await resetInternet();
  const { seconds, picture, text } = await quickstart('http://shop.test/world');
  t.diagnostic(`took ${seconds} s`); // a few, on a machine that does nothing else
  assert.deepEqual(await there(), was); // nothing was built, made or started again
  assert.ok(picture.length > 5000);
  assert.match(text, /http:\/\/shop\.test\/world/);
  assert.deepEqual(Object.keys((await internet()).hosts), ['shop.test']);
  const rules = JSON.parse((await run('berth', ['policy', 'demo', '--json'], { env })).stdout).rules;
  assert.ok(rules.includes('shop.test') && rules.includes('*.shop.test'), rules.join(' '));
});

test('a page that wants other names: they are listed, with the command that allows them', { skip: reason, timeout: 300000 * SLOW }, async () => {
  const { text } = await quickstart('http://shop.test/leak');
  const command = /^ *berth policy demo allow (.*)$/m.exec(text)?.[1].trim().split(' ') ?? [];
  assert.ok(command.includes('evil.test') && command.includes('bank.test'), text);
  assert.ok(!command.some((n) => n === 'shop.test' || n.endsWith('.shop.test')), command.join(' '));
});

test('a host that is not there, and what is no URL: a clear end', { skip: reason, timeout: 300000 * SLOW }, async () => {
  const gone = await failing('https://gone.test/');
  assert.equal(gone.status, 1);
  assert.match(gone.said, /ERR_NAME_NOT_RESOLVED/);
  assert.match(gone.said.trim().split('\n').at(-1), /^quickstart: https:\/\/gone\.test\/ was not opened/);
  assert.doesNotMatch(gone.text, /What to paste next|refused, because/);
  for (const url of ['ftp://shop.test/', 'http://', 'http://192.0.2.1/', 'a b']) {
    const bad = await failing(url);
    assert.equal(bad.status, 1);
    assert.match(bad.said, /cannot be opened: /);
  }
});

test('the address that it prints works, and berth down ends it all', { skip: reason, timeout: 120000 * SLOW }, async () => {
  const { text } = await quickstart('http://shop.test/world');
  const token = /token=([^\s'"]+)/.exec(text)[1];
  const version = await (await fetch(`http://127.0.0.1:7980/v1/agents/demo/json/version?token=${token}`)).json();
  assert.match(version.webSocketDebuggerUrl, /^ws:\/\/127\.0\.0\.1:7980\/v1\/agents\/demo\//);
  const { tokens } = JSON.parse((await run('berth', ['token', 'ls', '--json'], { env })).stdout);
  assert.equal(tokens.filter((t) => t.agent === 'demo').length, 1, 'one token, however often it ran');
  assert.equal((await run('berth', ['down'], { env, timeout: 120000 })).status, 0);
  assert.deepEqual(remains(a.state), []);
});
