// The gateway against the same upstream asked directly, in one run. BERTH_BUILD: where the programs are.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { createRequire } from 'node:module';
import path from 'node:path';
import readline from 'node:readline';
import { World, sleep } from '../gateway/lib.mjs';

const build = path.resolve(process.env.BERTH_BUILD);
const upstream = spawn(path.join(build, 'ws-upstream'), ['0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const port = Number((await new Promise((r) => readline.createInterface(upstream.stdout).once('line', r))).split(' ')[1]);
const w = await World.start({ cdpPort: port });
const relay = spawn(path.join(build, 'relay'), [String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
const relayPort = (await new Promise((r) => readline.createInterface(relay.stdout).once('line', r))).split(' ')[1];
// Three programs at full speed need three processors and one for the kernel's work: with fewer the gateway takes time from the
// two that it is measured against, and so would anything in its place. There a bare relay is the measure.
const enough = os.availableParallelism() >= 4;
const ends = { direct: [String(port), '/devtools/browser/bench'], relay: [relayPort, '/devtools/browser/bench'], gateway: [String(w.port), '/v1/agents/demo/cdp?token=admin-token'] };

const client = (end, ...args) => {
  const r = spawnSync(path.join(build, 'ws-client'), [...ends[end], ...args.map(String)], { encoding: 'utf8', input: '' });
  if (r.status !== 0) throw new Error(`ws-client ${end} ${args.join(' ')}: ${r.stderr}`);
  return JSON.parse(r.stdout);
};
const status = (field) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(fs.readFileSync(`/proc/${w.gateway.pid}/status`, 'utf8'))[1]) * 1024;
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
const rows = [];
const row = (what, direct, gateway, verdict, goal) => rows.push([what, direct, gateway, verdict, goal]);
const failures = [];
const judge = (ok, what) => { if (!ok) failures.push(what); return ok ? 'met' : 'MISSED'; };

try {
  // Round trips, three turns of each, so that a busy machine disturbs both alike.
  const rtt = { direct: [], gateway: [] };
  for (let i = 0; i < 3; i++) for (const end of ['direct', 'gateway']) rtt[end].push(client(end, 'rtt', 5000));
  const p = (end, q) => median(rtt[end].map((r) => r[q]));
  const added = p('gateway', 'p50') - p('direct', 'p50');
  row('round trip, median', `${p('direct', 'p50').toFixed(1)} us`, `${p('gateway', 'p50').toFixed(1)} us`, `+${added.toFixed(1)} us`, `at most +100 us: ${judge(added <= 100, 'added time')}`);
  row('round trip, 99th percentile', `${p('direct', 'p99').toFixed(1)} us`, `${p('gateway', 'p99').toFixed(1)} us`, `+${(p('gateway', 'p99') - p('direct', 'p99')).toFixed(1)} us`, '');

  const MSG = 64 << 20;
  for (const [way, words] of [['down', 'from the browser'], ['up', 'to the browser']]) {
    const got = { direct: [], relay: [], gateway: [] };
    for (let i = 0; i < 7; i++) for (const end of ['direct', 'relay', 'gateway']) got[end].push(client(end, way, MSG, 4).mib_s);
    const d = median(got.direct), b = median(got.relay), g = median(got.gateway), share = g / (enough ? d : b);
    row(`64 MiB messages ${words}`, `${d} MiB/s`, `${g} MiB/s`, `${(g / d).toFixed(2)} of direct`, `at least 0.80${enough ? '' : ' of a bare relay'}: ${judge(share >= 0.8, `throughput ${words}`)}`);
    row('  through a bare relay', '', `${b} MiB/s`, `${(b / d).toFixed(2)} of direct`, enough ? '' : `gateway: ${share.toFixed(2)} of it`);
  }

  // The same with a client as people have it: the ws package of Node.
  const WebSocket = createRequire(new URL('../e2e/package.json', import.meta.url))('ws');
  const node = { direct: [], gateway: [] };
  const turn = async (end) => {
    const ws = new WebSocket(`ws://127.0.0.1:${ends[end][0]}${ends[end][1]}`, { perMessageDeflate: false, maxPayload: 128 << 20 });
    await new Promise((r, j) => { ws.once('open', r); ws.once('error', j); });
    const begin = performance.now();
    for (let i = 0; i < 4; i++) {
      ws.send(JSON.stringify({ id: i, method: 'Runtime.evaluate', make: MSG }));
      await new Promise((r) => ws.once('message', r));
    }
    node[end].push(256000 / (performance.now() - begin));
    ws.terminate();
  };
  for (let i = 0; i < 5; i++) for (const end of ['direct', 'gateway']) await turn(end);
  const nd = median(node.direct), ng = median(node.gateway);
  row('64 MiB messages to a Node client', `${nd.toFixed(0)} MiB/s`, `${ng.toFixed(0)} MiB/s`, `${(ng / nd).toFixed(2)} of direct`, `at least 0.80: ${judge(ng / nd >= 0.8, 'throughput')}`);

  // Many at once: 64 for each agent is the limit, so four agents have 50 each.
  const before = status('VmRSS');
  const crowd = [];
  for (const [agent, n] of [1, 2, 3, 4].map((i) => [`bench-${i}`, 50])) {
    const c = spawn(path.join(build, 'ws-client'), [String(w.port), `/v1/agents/${agent}/cdp?token=admin-token`, 'many', String(n)], { stdio: ['pipe', 'pipe', 'inherit'] });
    crowd.push({ c, n, line: JSON.parse(await new Promise((r) => readline.createInterface(c.stdout).once('line', r))) });
  }
  await sleep(500);
  const total = crowd.reduce((s, x) => s + x.n, 0), each = (status('VmRSS') - before) / total;
  const direct = client('direct', 'many', total);
  row(`${total} connections at once, opened`, `${direct.open_ms} ms`, `${crowd.reduce((s, x) => s + x.line.open_ms, 0).toFixed(1)} ms`, '', 'all answered');
  row('one answer on each of them', `${direct.answer_ms} ms`, `${crowd.reduce((s, x) => s + x.line.answer_ms, 0).toFixed(1)} ms`, '', '');
  row('memory per idle connection', '', `${(each / 1024).toFixed(1)} KiB`, '', '');
  for (const x of crowd) x.c.kill();
  await sleep(300);

  // A client that takes 1 MiB at a time of a message of 256 MiB.
  const slow = spawn(path.join(build, 'ws-client'), [...ends.gateway, 'slow', String((256 << 20) - 100)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = readline.createInterface(slow.stdout);
  const start = status('VmRSS');
  let peak = 0;
  for (let i = 0; i < 40; i++) {
    slow.stdin.write('\n');
    await new Promise((r) => lines.once('line', r));
    await sleep(25);
    peak = Math.max(peak, status('VmRSS'));
  }
  slow.kill();
  row('gateway while 256 MiB is read slowly', '', `${(peak / 1048576).toFixed(1)} MiB`, `+${((peak - start) / 1048576).toFixed(1)} MiB`, `at most 64 MiB: ${judge(peak <= 64 << 20, 'memory')}`);
} finally {
  await w.stop();
  upstream.kill();
  relay.kill();
}

const table = [['', 'direct', 'through the gateway', 'difference', 'goal'], ...rows];
const widths = table[0].map((_, i) => Math.max(...table.map((r) => r[i].length)));
for (const r of table) console.log(r.map((v, i) => (i ? v.padStart(widths[i]) : v.padEnd(widths[i]))).join('  ').trimEnd());
if (failures.length) { console.error(`missed: ${failures.join(', ')}`); process.exit(1); }
