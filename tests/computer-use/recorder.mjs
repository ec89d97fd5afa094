// Pages that record what a mouse and a keyboard do to them, and a second CDP client that reads it.
import http from 'node:http';
import { createRequire } from 'node:module';
import { Chromium } from '../gateway/chromium.mjs';
import { World } from '../gateway/lib.mjs';

const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const WebSocket = require('ws');

const script = `
const log = [];
const mods = (e) => (e.altKey ? 1 : 0) | (e.ctrlKey ? 2 : 0) | (e.metaKey ? 4 : 0) | (e.shiftKey ? 8 : 0);
const mouse = (e) => [e.clientX, e.clientY, e.button, e.buttons, e.detail, mods(e)];
const key = (e) => [e.key, e.code, e.keyCode, e.location, mods(e), e.repeat];
const kinds = { mousemove: mouse, mousedown: mouse, mouseup: mouse, click: mouse, dblclick: mouse, auxclick: mouse, contextmenu: mouse,
  wheel: (e) => [e.clientX, e.clientY, e.deltaX, e.deltaY, e.deltaMode, mods(e)],
  keydown: key, keyup: key, input: (e) => [e.inputType, e.data], change: (e) => [e.target.value],
  dragstart: mouse, dragenter: (e) => [e.target.id], drop: (e) => [e.target.id, e.dataTransfer.getData('text/plain')], dragend: () => [] };
for (const kind in kinds)
  addEventListener(kind, (e) => log.push([kind, e.isTrusted, ...kinds[kind](e)]), true);
`;

const pages = {
  '/': `<title>Recorder</title><style>body{margin:0;height:3000px;width:2000px}*{box-sizing:border-box}</style>
<input id=text style="position:absolute;left:20px;top:20px;width:300px;height:30px">
<textarea id=area style="position:absolute;left:20px;top:60px;width:300px;height:60px"></textarea>
<select id=choice style="position:absolute;left:20px;top:140px;width:150px;height:30px"><option>one<option>two<option>three</select>
<div id=box draggable=true style="position:absolute;left:20px;top:200px;width:60px;height:60px;background:red">drag</div>
<div id=bin style="position:absolute;left:300px;top:200px;width:100px;height:100px;background:blue">bin</div>
<canvas id=paper width=200 height=100 style="position:absolute;left:450px;top:20px"></canvas>
<a id=file href=/file style="position:absolute;left:20px;top:320px;width:100px;height:30px">file</a>
<a id=pop target=_blank href=/two style="position:absolute;left:150px;top:320px;width:100px;height:30px">new tab</a>
<button id=ask style="position:absolute;left:300px;top:320px;width:100px;height:30px">ask</button>
<input id=up type=file style="position:absolute;left:420px;top:320px;width:200px;height:30px">
<input id=date type=date style="position:absolute;left:450px;top:140px;width:150px;height:30px">
<iframe id=other src="http://b.test:PORT/inner" style="position:absolute;left:450px;top:180px;width:200px;height:120px;border:0"></iframe>
<script>${script}
box.ondragstart = (e) => e.dataTransfer.setData('text/plain', 'box');
bin.ondragover = (e) => e.preventDefault();
bin.ondrop = (e) => e.preventDefault();
const pen = paper.getContext('2d');
paper.onmousemove = (e) => { if (e.buttons & 1) { pen.lineTo(e.offsetX, e.offsetY); pen.stroke(); } else { pen.beginPath(); pen.moveTo(e.offsetX, e.offsetY); } };
addEventListener('contextmenu', (e) => e.preventDefault());
</script>`,
  '/inner': `<title>Inner</title><style>body{margin:0;height:100px}</style>
<select id=choice style="position:absolute;left:10px;top:10px;width:100px;height:24px"><option>red<option>green</select>
<input id=text style="position:absolute;left:10px;top:60px;width:100px;height:24px"><script>${script}</script>`,
  '/two': '<title>Two</title><h1>two</h1>',
  '/stay': '<title>Stay</title><button style="width:200px;height:100px">touch</button><script>onbeforeunload = (e) => e.preventDefault();</script>',
  '/form': `<title>Form</title><style>body{margin:0}</style><h1>Order</h1><form>
<label>Name <input id=user></label><label><input type=checkbox id=keep> Keep me</label>
<label><input type=radio name=r id=one> First</label><label><input type=radio name=r id=two> Second</label>
<select id=lang aria-label=Language><option>English<option value=de>German</select>
<input type=date id=day aria-label=Day><input type=number id=count aria-label=Count><textarea id=note aria-label=Note></textarea>
<div contenteditable id=rich role=textbox aria-label=Rich>old</div>
<span role=switch aria-checked=false tabindex=0 id=dark aria-label=Dark onclick="this.setAttribute('aria-checked', this.getAttribute('aria-checked') !== 'true')">dark</span>
<input id=fixed readonly aria-label=Fixed value=x><input type=file id=up aria-label=Papers>
<button type=button id=cart>Add to cart</button><button type=button id=shut>Close</button>
<iframe src=/inner title=inner style="width:300px;height:100px"></iframe>
<div style="height:3000px"></div><button type=button id=low>Low</button></form><script>${script}</script>`,
  '/article': `<title>Article</title><nav>Menu</nav><article><h1>News</h1><p>${'The story goes on. '.repeat(50)}</p></article><footer>Imprint</footer>`,
  '/long': `<title>Long</title>${'<p>A paragraph of some words.</p>'.repeat(3000)}`,
  '/gone': '<title>Gone</title><h1>gone</h1>',
  '/busy': '<title>Busy</title><button style="position:absolute;left:0;top:0;width:200px;height:100px" onclick="for(;;);">hang</button>',
};

export function serve() {
  const server = http.createServer((q, r) => {
    const name = new URL(q.url, 'http://x').pathname;
    if (name === '/file') { r.setHeader('content-disposition', 'attachment; filename=report.txt'); return r.end('a report'); }
    if (!pages[name]) { r.statusCode = 404; return r.end(); }
    r.statusCode = name === '/gone' ? 404 : 200;
    r.setHeader('content-type', 'text/html; charset=utf-8');
    r.end(pages[name].replace('PORT', server.address().port));
  });
  return new Promise((r) => server.listen(0, '127.0.0.1', () => r({ server, url: `http://a.test:${server.address().port}` })));
}

/** A site of HTML by path: {server, url}. */
export async function servePages(html) {
  const server = http.createServer((q, r) => { r.setHeader('content-type', 'text/html'); r.end(html[new URL(q.url, 'http://x').pathname] ?? ''); });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  return { server, url: `http://a.test:${server.address().port}` };
}

/** A site ({server, url}), a Chromium, the gateway before it (w), and a second CDP client that looks on (watch). */
export class Stage {
  async start(site, options) {
    this.site = await site;
    this.browser = await Chromium.start(options);
    this.w = await World.start({ cdpPort: this.browser.port });
    this.watch = await Watcher.open(this.browser.port);
    return this;
  }

  /** A session to the page at this address, the one before let go, with a view of that size. */
  async look(url, width, height) {
    if (this.page) await this.watch.call('Target.detachFromTarget', { sessionId: this.page }).catch(() => {});
    this.page = await this.watch.session(url);
    await this.watch.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 0, mobile: false }, this.page);
    return this.page;
  }

  /** Also what has begun only in part. */
  async stop() {
    this.watch?.close();
    await this.w?.stop();
    await this.browser?.stop();
    this.site?.server.closeAllConnections();
    this.site?.server.close();
  }
}

// A CDP client of the test's own, which looks at pages and says what the computer is like.
export class Watcher {
  static async open(port) {
    const w = new Watcher();
    const v = await (await fetch(`http://127.0.0.1:${port}/json/version`)).json();
    w.ws = new WebSocket(v.webSocketDebuggerUrl, { perMessageDeflate: false, maxPayload: 1 << 28 });
    w.waiting = new Map();
    w.id = 0;
    w.ws.on('message', (m) => { const o = JSON.parse(m); w.waiting.get(o.id)?.(o); w.waiting.delete(o.id); });
    await new Promise((r, j) => { w.ws.once('open', r); w.ws.once('error', j); });
    return w;
  }

  call(method, params = {}, sessionId) {
    return new Promise((r, j) => {
      this.waiting.set(++this.id, (o) => (o.error ? j(new Error(`${method}: ${o.error.message}`)) : r(o.result)));
      this.ws.send(JSON.stringify({ id: this.id, method, params, sessionId }));
    });
  }

  async targets(type = 'page') { return (await this.call('Target.getTargets', { filter: [{}] })).targetInfos.filter((t) => t.type === type); }

  // A session to the target whose address has this in it.
  async session(part, type = 'page') {
    const t = (await this.targets(type)).find((i) => i.url.includes(part));
    if (!t) throw new Error(`no ${type} with ${part}`);
    return (await this.call('Target.attachToTarget', { targetId: t.targetId, flatten: true })).sessionId;
  }

  async eval(session, expression) {
    const r = await this.call('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true }, session);
    if (r.exceptionDetails) throw new Error(r.exceptionDetails.exception?.description ?? r.exceptionDetails.text);
    return r.result.value;
  }

  close() { this.ws.close(); }
}

export function pngSize(base64) {
  const b = Buffer.from(base64, 'base64');
  if (b.subarray(1, 4).toString() !== 'PNG') throw new Error('not a PNG');
  return [b.readUInt32BE(16), b.readUInt32BE(20)];
}
