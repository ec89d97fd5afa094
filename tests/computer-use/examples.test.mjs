// The examples of docs/examples/, run as their users run them: each vendor's own package against a scripted model of that vendor, the real
// gateway, a real Chromium, and a page whose form tells its server what a person with these keys and this mouse would have sent.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { noChromium } from '../gateway/chromium.mjs';
import { until } from '../gateway/lib.mjs';
import { Anthropic, Gemini, OpenAI, VIEW } from './models.mjs';
import { Stage } from './recorder.mjs';

const top = fileURLToPath(new URL('../..', import.meta.url));
const TASK = 'Fill in the form, and send it.';
const QUESTION = 'This sends the form.';
const THANKS = 'The form is sent.';

const form = `<title>Form</title><style>body{margin:0;height:1200px}*{box-sizing:border-box}[style]{position:absolute}</style>
<form method=post action=/sent>
<input name=person value=wrong style="left:20px;top:20px;width:300px;height:30px">
<textarea name=notes style="left:20px;top:60px;width:300px;height:60px"></textarea>
<select name=size style="left:20px;top:140px;width:150px;height:30px"><option>small<option>medium<option>large</select>
<input name=agree type=checkbox style="left:20px;top:200px;width:20px;height:20px">
<input name=speed type=radio value=slow style="left:60px;top:200px;width:20px;height:20px">
<input name=speed type=radio value=fast style="left:100px;top:200px;width:20px;height:20px">
<input name=day type=date style="left:20px;top:240px;width:150px;height:30px">
<input name=volume type=range min=0 max=10 value=0 style="left:200px;top:240px;width:200px;height:30px">
<input name=count type=number style="left:20px;top:290px;width:100px;height:30px">
<input name=secret type=password style="left:150px;top:290px;width:150px;height:30px">
<input name=made_up type=hidden value=0>
<button style="left:20px;top:900px;width:100px;height:30px">Send</button>
</form>
<script>
for (const kind of ['mousedown', 'click', 'keydown', 'input', 'change', 'submit'])
  addEventListener(kind, (e) => { if (!e.isTrusted) document.forms[0].made_up.value++; }, true);
</script>`;

const SENT = [{ person: 'Ada', notes: 'first\r\nsecond', size: 'medium', agree: 'on', speed: 'fast', day: '2026-12-31', volume: '10', count: '42',
  secret: 'Pa$$ wörd', made_up: '0' }];

const SCRIPT = [
  { say: 'I look at it.', ops: [['look']] },
  { ops: [['click', 100, 36, 2], ['type', 'Ada'], ['click', 100, 90], ['type', 'first\nsecond']] },
  { ops: [['click', VIEW[0] + 100, 36], ['type', 'this must not be typed']], failing: 0 },
  { ops: [['click', 88, 156], ['key', 'Down'], ['key', 'Return'], ['click', 32, 210], ['click', 112, 210]] },
  { ops: [['click', 40, 255], ['type', '12312026'], ['drag', 208, 255, 396, 255]] },
  { ops: [['click', 60, 306], ['type', '42'], ['key', 'Tab'], ['type', 'Pa$$ wörd']] },
  { ops: [['bottom', 400, 450], ['look']] },
  { ops: [['click', 72, 315]], pending: QUESTION },
  { say: THANKS },
];

function serve(sent) {
  const server = http.createServer(async (q, r) => {
    let body = '';
    for await (const d of q) body += d;
    if (q.method === 'POST') sent.push(Object.fromEntries(new URLSearchParams(body)));
    r.setHeader('content-type', 'text/html; charset=utf-8');
    r.end(q.method === 'POST' ? '<title>Thanks</title><h1>Thanks</h1>' : form);
  });
  return new Promise((r) => server.listen(0, '127.0.0.1', () => r({ server, url: `http://a.test:${server.address().port}/` })));
}

describe('examples', { skip: noChromium }, () => {
  const stage = new Stage();
  let w, site, watch, folder, view;
  const sent = [];

  // A folder as the examples' headers want it: the example, and its package beside it.
  before(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'berth-examples-'));
    fs.symlinkSync(path.join(top, 'tests/e2e/node_modules'), path.join(folder, 'node_modules'));
    fs.cpSync(path.join(top, 'docs/examples'), folder, { recursive: true });
    ({ w, site, watch } = await stage.start(serve(sent)));
  });
  after(async () => {
    await stage.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });

  async function open() {
    sent.length = 0;
    const r = await w.request('POST', '/v1/agents/demo/open', { json: { url: site.url } });
    assert.equal(r.status, 200, r.text);
    view = await stage.look(site.url, VIEW[0], VIEW[1]);
  }

  // Runs an example to its end. answer: what the person at the terminal says when asked.
  function run(model, { answer = 'y', token = 'agent-token' } = {}) {
    const child = spawn(process.execPath, [model.file, 'demo', TASK], { cwd: folder, timeout: 240000, stdio: 'pipe',
      env: { PATH: process.env.PATH, HOME: folder, BERTH_URL: `http://127.0.0.1:${w.port}`, BERTH_TOKEN: token, ...model.env() } });
    const o = { out: '', err: '' };
    child.stderr.on('data', (d) => { o.err += d; });
    child.stdout.on('data', (d) => {
      o.out += d;
      if (!o.out.includes('[y/N] ') || o.asked) return;
      o.asked = true;
      child.stdin.end(`${answer}\n`);
    });
    return new Promise((r) => child.on('close', (code, signal) => r({ ...o, code: code ?? signal })));
  }

  for (const Vendor of [Anthropic, OpenAI, Gemini]) {
    test(`${Vendor.name}: a form is filled in and sent`, { timeout: 300000 }, async () => {
      await open();
      const model = await Vendor.start(SCRIPT, TASK);
      const r = await run(model);
      model.stop();
      if (model.failure) throw model.failure;
      assert.deepEqual([r.code, r.err, model.turn], [0, '', SCRIPT.length]);
      assert.match(r.out, new RegExp(`^I look at it\\.\n[^]*${THANKS}\n$`));
      assert.equal(r.asked === true, Vendor !== Anthropic, 'whether the person was asked');
      if (r.asked) assert.ok(r.out.includes(QUESTION));
      assert.deepEqual(sent, SENT);
    });

    test(`${Vendor.name}: who may not is told`, { timeout: 120000 }, async () => {
      const model = await Vendor.start(SCRIPT, TASK);
      const r = await run(model, { token: 'viewer-token' });
      model.stop();
      assert.deepEqual([r.code, model.turn], [1, 1]);
      assert.match(r.err, /berth: 403 \{.*"type"/);
    });
  }

  for (const Vendor of [OpenAI, Gemini]) {
    test(`${Vendor.name}: a person who does not agree ends it`, { timeout: 120000 }, async () => {
      await open();
      const model = await Vendor.start([{ ops: [['look']] }, { ops: [['click', 100, 36]], pending: QUESTION }], TASK);
      const r = await run(model, { answer: 'n' });
      model.stop();
      if (model.failure) throw model.failure;
      assert.deepEqual([r.code, r.asked, model.turn], [0, true, 2]);
      assert.notEqual(await watch.eval(view, 'document.activeElement.name'), 'person');
    });
  }
});
