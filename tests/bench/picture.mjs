// Pictures: what reading, scaling and writing them costs by setting (picture-bench), and the endpoint against raw Page.captureScreenshot of
// the same page. Everything in turns, in one run. BERTH_BUILD: where the programs are; BERTH_BENCH_ROUNDS: turns (30).
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { Chromium } from '../gateway/chromium.mjs';
import { World, sleep } from '../gateway/lib.mjs';

const WebSocket = createRequire(new URL('../e2e/package.json', import.meta.url))('ws');
const build = path.resolve(process.env.BERTH_BUILD), rounds = Number(process.env.BERTH_BENCH_ROUNDS ?? 30);
const WIDTH = 1280, HEIGHT = 800, MAX_EDGE = 1000;
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const sum = (list) => list.reduce((a, b) => a + b, 0);
const words = 'Sphinx of black quartz, judge my vow. Pack my box with five dozen liquor jugs. ';

// Three kinds of pages: text; boxes, buttons and a table; what is like a photograph (the same every time).
const pages = {
  text: `<body style="font:16px/1.5 serif;max-width:60em;margin:auto">${`<h2>Heading</h2><p>${words.repeat(9)}</p>`.repeat(9)}`,
  form: `<body style="font:13px sans-serif;margin:0;background:linear-gradient(#eef,#fff)"><header style="background:#246;color:#fff;padding:12px">Accounts</header>
    <table style="width:100%;border-collapse:collapse">${Array.from({ length: 26 }, (_, i) => `<tr style="background:${i % 2 ? '#fff' : '#f4f6fa'}"><td>${i * 7919 % 1000}</td>
    <td>${words.slice(i, i + 30)}</td><td><button>Edit</button> <input value=${i}> <select><option>one</select></td><td style="color:#070">+${i}.50</td></tr>`).join('')}</table>`,
  photo: `<body style="margin:0"><canvas id=c width=${WIDTH} height=${HEIGHT}></canvas><script>const x = c.getContext('2d'), d = x.createImageData(${WIDTH}, ${HEIGHT}); let v = 1;
    for (let i = 0; i < d.data.length; i++) { v = (v * 1103515245 + 12345) & 0x7fffffff; const px = i >> 2, k = i & 3;
      d.data[i] = k === 3 ? 255 : 128 + 80 * Math.sin(px % ${WIDTH} / (90 + 20 * k)) * Math.cos(px / ${WIDTH} / 70) + (v >> 16) % 9; }
    x.putImageData(d, 0, 0);</script>`,
};

function print(title, head, rows) {
  const table = [head, ...rows], widths = head.map((_, i) => Math.max(...table.map((r) => r[i].length)));
  console.log(`\n${title}`);
  for (const r of table) console.log(r.map((v, i) => (i ? v.padStart(widths[i]) : v.padEnd(widths[i]))).join('  ').trimEnd());
}

const browser = await Chromium.start({ flags: ['--hide-scrollbars', `--window-size=${WIDTH},${HEIGHT + 143}`] });
const w = await World.start({ cdpPort: browser.port });
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-bench-picture-'));
const failures = [];
try {
  const [{ id }] = await (await fetch(`http://127.0.0.1:${browser.port}/json/list`)).json();
  const connect = async () => {
    const ws = new WebSocket(`ws://127.0.0.1:${browser.port}/devtools/page/${id}`, { perMessageDeflate: false, maxPayload: 256 << 20 });
    await new Promise((r, j) => { ws.once('open', r); ws.once('error', j); });
    const call = (method, params = {}) => new Promise((r) => {
      ws.once('message', (m) => r(JSON.parse(m).result));
      ws.send(JSON.stringify({ id: 1, method, params }));
    });
    return { ws, call };
  };
  const { ws, call } = await connect();
  const raw = async (params) => Buffer.from((await call('Page.captureScreenshot', params)).data, 'base64');
  const get = (query) => new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port: w.port, path: `/v1/agents/demo/screenshot?${query}`, headers: { authorization: 'Bearer admin-token' }, agent: false }, (r) => {
      const parts = [];
      r.on('data', (d) => parts.push(d));
      r.on('end', () => (r.statusCode === 200 ? resolve(Buffer.concat(parts)) : reject(new Error(`${r.statusCode} ${Buffer.concat(parts)}`))));
    }).on('error', reject);
  });
  const open = async (name) => {
    await call('Page.navigate', { url: `data:text/html,${encodeURIComponent(pages[name])}` });
    await sleep(700);
  };

  // The writers' settings, each page scaled from the view to MAX_EDGE; a row is the sum over the pages.
  const settings = new Map();
  for (const name of Object.keys(pages)) {
    await open(name);
    const file = path.join(dir, `${name}.png`);
    fs.writeFileSync(file, await raw({ format: 'png' }));
    const r = spawnSync(path.join(build, 'cdp-proxy/picture-bench'), [file, String(MAX_EDGE), '7'], { encoding: 'utf8' });
    if (r.status !== 0) throw new Error(r.stderr);
    for (const line of r.stdout.trim().split('\n')) {
      const o = JSON.parse(line), s = settings.get(o.what) ?? { ms: [], bytes: [] };
      s.ms.push(o.ms);
      s.bytes.push(o.bytes);
      settings.set(o.what, s);
    }
  }
  const base = settings.get('png 6 all'), n = Object.keys(pages).length;
  const names = Object.keys(pages);
  print(`A picture of ${WIDTH}x${HEIGHT} to ${MAX_EDGE} wide: processor time, and KiB of each page (${names.join(', ')}). 1.00 is libpng's own default, level 6 with all filters.`,
    ['', 'ms in the mean', 'time', ...names, 'size'],
    [...settings].map(([what, s]) => [what, (sum(s.ms) / n).toFixed(1), (sum(s.ms) / sum(base.ms)).toFixed(2), ...s.bytes.map((b) => (b ? (b / 1024).toFixed(0) : '')),
      // The geometric mean: a page of text counts as much as a photograph.
      s.bytes[0] ? (Math.exp(sum(s.bytes.map((b, i) => Math.log(b / base.bytes[i]))) / n)).toFixed(2) : '']));

  // Processor time of the gateway, ms.
  const tasks = `/proc/${w.gateway.pid}/task`;
  const used = () => sum(fs.readdirSync(tasks).map((t) => Number(fs.readFileSync(`${tasks}/${t}/schedstat`, 'utf8').split(' ')[0]))) / 1e6;
  // The endpoint. `raw`: one command on a connection that is open already.
  const rows = [];
  for (const name of names) {
    await open(name);
    const ways = {
      raw: () => raw({ format: 'png' }),
      endpoint: () => get(''),
      'max_edge': () => get(`max_edge=${MAX_EDGE}`),
      'raw jpeg': () => raw({ format: 'jpeg' }),
      'jpeg': () => get('format=jpeg'),
      'jpeg max_edge': () => get(`format=jpeg&max_edge=${MAX_EDGE}`),
      'webp max_edge': () => get(`format=webp&max_edge=${MAX_EDGE}`),
    };
    const ms = Object.fromEntries(Object.keys(ways).map((k) => [k, []])), cpu = Object.fromEntries(Object.keys(ways).map((k) => [k, 0])), size = {};
    for (let i = 0; i < rounds + 2; i++) {
      for (const [k, f] of Object.entries(ways)) {
        const t = performance.now(), c = used();
        size[k] = (await f()).length;
        if (i < 2) continue;
        ms[k].push(performance.now() - t);
        cpu[k] += used() - c;
      }
    }
    for (const k of Object.keys(ways)) {
      const against = k === 'jpeg' ? 'raw jpeg' : 'raw', ratio = median(ms[k]) / median(ms[against]);
      const judged = k === 'endpoint' || k === 'jpeg';
      if (judged && ratio > 1.15) failures.push(`${name} ${k} ${ratio.toFixed(2)}`);
      rows.push([`${name} ${k}`, median(ms[k]).toFixed(1), k === 'raw' || k === 'raw jpeg' ? '' : ratio.toFixed(2), (cpu[k] / rounds).toFixed(1), (size[k] / 1024).toFixed(0),
        judged ? `at most 1.15 of ${against}: ${ratio <= 1.15 ? 'met' : 'MISSED'}` : '']);
    }
  }
  print('The endpoint, connecting each time, against one command on an open connection', ['', 'ms (median)', 'ratio', 'gateway\'s processor ms', 'KiB', 'goal'], rows);
  ws.terminate();
} finally {
  await w.stop();
  await browser.stop();
  fs.rmSync(dir, { recursive: true, force: true });
}
if (failures.length) console.error(`missed: ${failures.join(', ')}`);
process.exit(failures.length ? 1 : 0);
