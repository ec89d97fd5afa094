// Connections into an agent that sleeps, through the real gateway: what waits is held and wakes it, who is silent does not, and
// a guest that is no more ends them. What a wake does to TCP and to Chromium is seen in tests/e2e/session.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World, sleep, until } from './lib.mjs';
import { Upstream } from './upstream.mjs';
import { WebSocket } from './ws.mjs';

const QUIET_MS = 400; // long enough for what must not come to come
let w, up;

before(async () => {
  up = await Upstream.start();
  w = await World.start({ cdpPort: up.port });
});
after(async () => {
  await w?.stop();
  up?.stop();
});

const cdp = (agent = 'demo') => WebSocket.open(w.port, `/v1/agents/${agent}/cdp`, { headers: { authorization: 'Bearer admin-token' } });
const resumes = () => w.ops.filter((o) => o === 'agent.resume demo wake').length;
const metric = async (name) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec((await w.get('/metrics')).text)[1]);

// A client whose answers are collected by id.
async function client(agent) {
  const c = await cdp(agent);
  c.answers = [];
  c.onMessage = (m) => c.answers.push(JSON.parse(m).id);
  c.command = (id) => c.send(JSON.stringify({ id, method: 'Runtime.evaluate' }));
  c.answered = (id) => until(`answer ${id}`, () => c.answers.includes(id));
  c.command(1);
  await c.answered(1);
  return c;
}
const seen = (id) => up.seen.some((o) => o.id === id);

async function asleep() {
  w.event('agent.suspending');
  w.event('agent.suspended');
  await until('the sleep', async () => (await w.get('/v1/agents/demo')).json.state === 'suspended');
  await sleep(50);
}

test('the next message is held, wakes the agent once, and goes on after the wake', async () => {
  const c = await client(), other = await client(), before = resumes(), counted = await metric('berth_gateway_wakes_total');
  await asleep();
  c.command(101);
  c.command(102);
  other.command(103);
  await until('the wake', () => resumes() > before);
  await sleep(QUIET_MS);
  assert.equal(resumes(), before + 1);
  assert.ok(![101, 102, 103].some(seen), 'something was sent to a guest that sleeps');
  c.sendFrame(9, Buffer.from('still there?'), true);
  await until('the pong', () => c.pongs.includes('still there?'));
  w.event('agent.resumed', '0');
  await Promise.all([c.answered(101), c.answered(102), other.answered(103)]);
  assert.deepEqual(c.answers.slice(-2), [101, 102]);
  assert.equal(await metric('berth_gateway_wakes_total'), counted + 1);
  assert.ok(await metric('berth_gateway_wake_seconds_count') >= 1);
  assert.ok(await metric('berth_gateway_wake_seconds_sum') >= QUIET_MS / 1000);
  for (const one of [c, other]) one.socket.destroy();
});

test('twenty silent clients that ping do not wake it, and are all there afterwards', async () => {
  const all = await Promise.all(Array.from({ length: 20 }, () => client())), before = resumes();
  await asleep();
  for (const c of all) c.sendFrame(9, Buffer.from('x'), true);
  await until('the pongs', () => all.every((c) => c.pongs.length === 1));
  await sleep(QUIET_MS);
  assert.equal(resumes(), before);
  w.event('agent.resumed', '0');
  await sleep(50);
  for (const [i, c] of all.entries()) c.command(200 + i);
  await Promise.all(all.map((c, i) => c.answered(200 + i)));
  for (const c of all) c.socket.destroy();
});

test('a command under way as it falls asleep wakes it; an answered one does not', async () => {
  const c = await client();
  up.mute = true;
  c.command(301);
  await until('the command', () => seen(301));
  const before = resumes();
  w.event('agent.suspending');
  await until('the wake', () => resumes() === before + 1);
  up.mute = false;
  w.event('agent.suspended');
  w.event('agent.resumed', '0');
  c.command(302);
  await c.answered(302);
  c.socket.destroy();
});

test('what was sent and not acknowledged as it fell asleep wakes it', async () => {
  const c = await client(), before = resumes();
  for (const s of up.wss.clients) s._socket.pause();
  // More than its socket takes and less than ours does: the kernel has it all, and cannot get rid of it.
  c.send(JSON.stringify({ id: 401, method: 'Runtime.evaluate', params: { expression: 'x'.repeat(900000) } }));
  await sleep(6000); // longer than a command counts as under way
  await asleep();
  await until('the wake', () => resumes() > before);
  for (const s of up.wss.clients) s._socket.resume();
  w.event('agent.resumed', '0');
  await c.answered(401);
  c.socket.destroy();
});

test('a client that sends without end is stopped while the agent sleeps, and loses nothing', async () => {
  const c = await client();
  await asleep();
  const text = 'x'.repeat(65000), n = 400;
  for (let i = 0; i < n; i++) c.send(JSON.stringify({ id: 1000 + i, method: 'Runtime.evaluate', params: { expression: text } }));
  await sleep(QUIET_MS);
  assert.ok(c.socket.writableLength > 0, 'the gateway took it all');
  w.event('agent.resumed', '0');
  await c.answered(1000 + n - 1);
  assert.deepEqual(c.answers.slice(-n), Array.from({ length: n }, (_, i) => 1000 + i));
  c.socket.destroy();
});

async function refuse() {
  w.ops.length = 0;
  w.event('refuse');
  await until('the refusal', () => w.ops.includes('refuse'));
}

test('a wake that is refused is asked for again', async () => {
  const c = await client();
  await asleep();
  await refuse();
  const before = resumes();
  c.command(501);
  await until('a second try', () => resumes() >= before + 2);
  w.event('relent');
  w.event('agent.resumed', '0');
  await c.answered(501);
  c.socket.destroy();
});

test('a wake that is refused for 20 s ends the connections', async () => {
  const c = await client(), failed = await metric('berth_gateway_wakes_failed_total');
  await asleep();
  await refuse();
  c.command(502);
  await until('the close', () => c.closeCode === 1013);
  assert.equal(await metric('berth_gateway_wakes_failed_total'), failed + 1);
  w.event('relent');
  w.event('agent.resumed', '0');
});

for (const [type, code] of [['agent.stopped', 1001], ['agent.failed', 1001], ['agent.crashed', 1012], ['agent.hung', 1012], ['agent.restored', 1012],
  ['agent.starting', 1012], ['agent.removed', 1001]]) {
  test(`${type} ends what is open into the old guest`, async () => {
    const c = await client(), other = await client('other'), open = up.open;
    w.event(type);
    await until('the close', () => c.closeCode === code);
    await until('the end of its socket', () => up.open === open - 1);
    other.command(601);
    await other.answered(601);
    other.socket.destroy();
    await (await client()).socket.destroy(); // the same address serves the next
  });
}

test('a wake into another life ends the connections of the one before', async () => {
  const c = await client();
  await asleep();
  c.command(701);
  w.event('agent.starting');
  w.event('agent.resumed', '7');
  await until('the close', () => c.closeCode === 1012);
  assert.ok(!seen(701), 'a command for the old guest reached the new one');
});

test('a sleep that was given up holds nothing any more', async () => {
  const c = await client(), before = resumes();
  w.event('agent.suspending');
  await sleep(QUIET_MS);
  w.event('agent.awake');
  await until('it to be awake', async () => (await w.get('/v1/agents/demo')).json.state === 'running'); // the gateway was told before
  c.command(801);
  await c.answered(801);
  assert.equal(resumes(), before);
  c.socket.destroy();
});

test('berthd restarts while the agent sleeps: the message waits for both', async () => {
  const c = await client();
  await asleep();
  await w.stopDaemon();
  c.command(901);
  await sleep(1500);
  assert.ok(!c.closed && !seen(901));
  await w.startDaemon(); // its agents run
  await c.answered(901);
  c.socket.destroy();
});

test('use is told to berthd every 5 s at most, and never wakes', async () => {
  const c = await client();
  w.ops.length = 0;
  const begun = Date.now();
  for (const end = begun + 6500; Date.now() < end; await sleep(100)) {
    c.command(1);
  }
  const touches = w.ops.filter((o) => o.startsWith('agent.touch demo'));
  assert.ok(touches.length >= 1 && touches.length <= 1 + (Date.now() - begun) / 5000, touches.join());
  assert.ok(touches.every((o) => o.endsWith('sleep')));
  await sleep(6000);
  assert.equal(w.ops.filter((o) => o.startsWith('agent.touch demo')).length, touches.length, 'a silent client is no use');
  c.socket.destroy();
});

test('a running command keeps its agent in use; asleep, its WebSocket is held and goes on', async () => {
  const e = await WebSocket.open(w.port, '/v1/agents/demo/exec', { headers: { authorization: 'Bearer admin-token' }, protocol: 'berth.exec.v1' });
  let out = '', end;
  e.onMessage = (m, text) => { if (text) end = JSON.parse(m); else out += m.subarray(1); };
  e.send(JSON.stringify({ cmd: ['cat'] }));
  e.send(Buffer.from('\0one\n'));
  await until('the echo', () => out === 'one\n');
  w.ops.length = 0;
  await until('a touch', () => w.ops.includes('agent.touch demo sleep'));
  await asleep();
  w.ops.length = 0;
  await sleep(6000);
  assert.deepEqual(w.ops, [], 'a command wakes what somebody suspended');
  e.send(Buffer.from('\0two\n'));
  await until('the wake', () => resumes() > 0);
  assert.equal(out, 'one\n');
  w.event('agent.resumed', '0');
  await until('the echo', () => out === 'one\ntwo\n');
  w.event('agent.stopped');
  await until('the end', () => end?.error);
  assert.match(end.error.detail, /stopped before the command in agent demo ended/);
});

test('a command by HTTP that runs as the agent falls asleep wakes it', async () => {
  const before = resumes();
  const answer = w.request('POST', '/v1/agents/demo/exec', { json: { cmd: ['sleep', '3'] } });
  await until('the command', () => w.guest.lastStart?.argv.join(' ') === 'sleep 3');
  w.event('agent.suspending');
  await until('the wake', () => resumes() > before);
  w.event('agent.resumed', '0');
  assert.equal((await answer).json.exit_status, 0);
});
