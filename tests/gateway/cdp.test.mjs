// CDP through the real gateway: unchanged Playwright and Puppeteer on a real Chromium, the filter on the wire, and guests that lie.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Chromium, noChromium } from './chromium.mjs';
import { World, sleep, until } from './lib.mjs';

const require = createRequire(new URL('../e2e/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const puppeteer = require('puppeteer-core');
const WebSocket = require('ws');

const rpc = (ws) => {
  let id = 0;
  const waiting = new Map();
  ws.on('message', (m) => {
    const o = JSON.parse(m);
    waiting.get(o.id)?.(o);
    waiting.delete(o.id);
  });
  return (method, params = {}, more = {}) => new Promise((r) => {
    waiting.set(++id, r);
    ws.send(JSON.stringify({ id, method, params, ...more }));
  });
};
const opened = (ws) => new Promise((r, j) => { ws.once('open', r); ws.once('error', j); });
const closed = (ws) => new Promise((r) => ws.once('close', (code, reason) => r({ code, reason: String(reason) })));
const connect = async (url, options) => {
  const ws = new WebSocket(url, { perMessageDeflate: false, maxPayload: 512 << 20, ...options });
  await opened(ws);
  return ws;
};
// The HTTP status of a handshake that is refused.
const refused = (url) => new Promise((r) => {
  const ws = new WebSocket(url);
  ws.on('unexpected-response', (q, res) => { r(res.statusCode); res.destroy(); ws.on('error', () => {}); });
  ws.on('error', () => {});
  ws.on('open', () => { r('opened'); ws.close(); });
});

// The guest's real file helper, run in the browser's mount namespace.
const helper = path.resolve(process.env.BERTH_BUILD ?? 'build', 'guest-image/berth-init');
const noHelper = !fs.existsSync(helper) ? 'this build has no berth-init' : process.getuid() !== 0 ? 'entering the mount namespace needs root' : false;

// Two sites on loopback: one.test with a log-in, a form, a pop-up, a download; two.test in an iframe.
function sites() {
  const files = [];
  const server = http.createServer(async (q, r) => {
    const url = new URL(q.url, `http://${q.headers.host}`);
    const html = (text) => { r.setHeader('content-type', 'text/html'); r.end(text); };
    if (url.pathname === '/') {
      const who = /user=(\w+)/.exec(q.headers.cookie ?? '')?.[1];
      return html(`<title>One</title><p id=who>${who ?? 'nobody'}</p>
        <form action=/login><input name=user><button>log in</button></form>
        <a id=pop target=_blank href=/popup>pop</a> <a id=file href=/file download=report.txt>file</a>
        <form id=up action=/upload method=post enctype=multipart/form-data><input type=file name=f><button id=send>send</button></form>
        <iframe src="http://two.test:${server.address().port}/inner"></iframe>`);
    }
    if (url.pathname === '/login') { r.writeHead(302, { 'set-cookie': `user=${url.searchParams.get('user')}; Max-Age=9999`, location: '/' }); return r.end(); }
    if (url.pathname === '/popup') return html('<title>Popup</title>popped');
    if (url.pathname === '/inner') return html('<button onclick="this.textContent=location.host.split(\':\')[0]">press</button>');
    if (url.pathname === '/file') { r.setHeader('content-disposition', 'attachment; filename=report.txt'); return r.end('a report'); }
    if (url.pathname === '/upload') {
      const parts = [];
      for await (const d of q) parts.push(d);
      files.push(Buffer.concat(parts));
      return html(`<title>Got</title><p id=got>${files.at(-1).length}</p>`);
    }
    r.statusCode = 404;
    html('<title>None</title>');
  });
  return new Promise((r) => server.listen(0, '127.0.0.1', () => r({ server, files, url: `http://one.test:${server.address().port}` })));
}

const PATIENCE_MS = 120000; // the libraries' own is 30 s, which a busy machine may need for one page
async function connectOver(url, options) {
  const b = await chromium.connectOverCDP(url, { timeout: PATIENCE_MS, ...options });
  b.contexts()[0].setDefaultTimeout(PATIENCE_MS);
  return b;
}

describe('with a real Chromium', { skip: noChromium }, () => {
  let w, browser, site, api, fetchBack;
  const file = Buffer.concat([Buffer.from('begin '), randomBytes(3 << 20), Buffer.from(' end')]);

  before(async () => {
    site = await sites();
    browser = await Chromium.start();
    w = await World.start({ cdpPort: browser.port });
    api = `127.0.0.1:${w.port}/v1/agents/demo`;
  });
  after(async () => {
    await w?.stop();
    await browser?.stop();
    site?.server.closeAllConnections();
    site?.server.close();
  });

  async function playwrightFlow(b, name) {
    const page = await b.contexts()[0].newPage();
    await page.goto(site.url);
    await page.fill('input[name=user]', name);
    await page.click('text=log in');
    await page.waitForSelector(`#who:text-is("${name}")`);
    const [popup] = await Promise.all([page.waitForEvent('popup'), page.click('#pop')]);
    await popup.waitForLoadState();
    assert.equal(await popup.title(), 'Popup');
    await popup.close();
    const inner = page.frameLocator('iframe').locator('button');
    await inner.click();
    assert.equal(await inner.textContent(), 'two.test');
    const png = await page.screenshot();
    assert.equal(png.subarray(1, 4).toString(), 'PNG');
    await page.evaluate(() => localStorage.setItem('k', 'v'));
    assert.equal(await page.evaluate(() => localStorage.getItem('k')), 'v');
    return page;
  }

  test('Playwright by URL: log in, pop-up, iframe, upload over 1 MiB, download', async () => {
    const b = await connectOver(`http://${api}?token=agent-token`);
    const page = await playwrightFlow(b, 'ada');
    await page.setInputFiles('input[type=file]', { name: 'big.bin', mimeType: 'application/octet-stream', buffer: file });
    await page.click('#send');
    await page.waitForSelector('#got');
    assert.ok(site.files.at(-1).includes(file));
    // A path of the client's own machine, which Playwright reads and sends as a buffer.
    const local = path.join(browser.dir, 'local.txt');
    fs.writeFileSync(local, 'from the client');
    await page.goto(site.url);
    await page.setInputFiles('input[type=file]', local);
    await page.click('#send');
    await page.waitForSelector('#got');
    assert.ok(site.files.at(-1).includes('from the client'));
    await page.goto(site.url);
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#file')]);
    assert.equal(download.suggestedFilename(), 'report.txt');
    const got = await until('the file in the agent', () => fs.readdirSync(browser.downloads).find((f) =>
      !f.endsWith('.crdownload') && fs.readFileSync(path.join(browser.downloads, f), 'utf8') === 'a report'));
    assert.ok(got);
    await b.close();
    fetchBack = got;
  });

  test('the download, fetched back through the files API', { skip: noHelper }, async () => {
    w.guest.helperCommand = ['nsenter', '-t', String(browser.process.pid), '-m', '--', helper]; // where /home is the browser's
    const list = await w.get('/v1/agents/demo/files/Downloads?list=1', { token: 'agent-token' });
    assert.ok(JSON.stringify(list.json).includes(fetchBack), list.text);
    const r = await w.get(`/v1/agents/demo/files/Downloads/${encodeURIComponent(fetchBack)}`, { token: 'agent-token' });
    assert.deepEqual([r.status, r.text], [200, 'a report']);
  });

  test('Playwright by ws URL and by header', async () => {
    for (const [url, options] of [[`ws://${api}/cdp?token=agent-token`], [`http://${api}`, { headers: { authorization: 'Bearer agent-token' } }],
      [`ws://${api}/cdp`, { headers: { authorization: 'Bearer agent-token' } }]]) {
      const b = await connectOver(url, options);
      const page = await playwrightFlow(b, 'bob');
      await page.close();
      await b.close();
    }
  });

  test('Playwright makes a context of its own, with route and binding', async () => {
    const b = await connectOver(`ws://${api}/cdp?token=agent-token`);
    const c = await b.newContext({ viewport: { width: 700, height: 500 } });
    c.setDefaultTimeout(PATIENCE_MS);
    const page = await c.newPage();
    await page.route('**/faked', (r) => r.fulfill({ contentType: 'text/html', body: `<title>fake</title><!--${'x'.repeat(2 << 20)}-->` })); // which is not laid out
    await page.exposeBinding('ask', () => 42);
    await page.goto(`${site.url}/faked`);
    assert.equal(await page.title(), 'fake');
    assert.equal((await page.content()).length > 2 << 20, true);
    assert.equal(await page.evaluate(() => window.ask()), 42);
    assert.equal(await page.evaluate((s) => s.length, 'y'.repeat(5 << 20)), 5 << 20);
    await c.close();
    await b.close();
  });

  async function puppeteerFlow(b) {
    const page = await b.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    await page.goto(site.url);
    await page.type('input[name=user]', 'carol');
    await Promise.all([page.waitForNavigation(), page.click('form button')]);
    assert.equal(await page.$eval('#who', (e) => e.textContent), 'carol');
    const target = b.waitForTarget((t) => t.url().endsWith('/popup'), { timeout: PATIENCE_MS });
    await page.click('#pop');
    const popup = await (await target).page();
    await popup.close();
    await page.bringToFront();
    const frame = await page.waitForFrame((f) => f.url().includes('two.test'));
    await frame.click('button');
    assert.equal(await frame.$eval('button', (e) => e.textContent), 'two.test');
    assert.equal(Buffer.from(await page.screenshot()).subarray(1, 4).toString(), 'PNG');
    fs.writeFileSync(path.join(browser.uploads, 'there.txt'), 'put there before');
    const input = await page.$('input[type=file]');
    await assert.rejects(input.uploadFile('/etc/hostname'), /PUT \/v1\/agents\/NAME\/files\/Uploads/);
    await input.uploadFile('/home/agent/Uploads/there.txt');
    await Promise.all([page.waitForNavigation(), page.click('#send')]);
    assert.ok(site.files.at(-1).includes('put there before'));
    return page;
  }

  test('Puppeteer by browserWSEndpoint; its close() leaves the browser there', async () => {
    const b = await puppeteer.connect({ browserWSEndpoint: `ws://${api}/cdp?token=agent-token` });
    await puppeteerFlow(b);
    await b.close().catch(() => {});
    assert.ok((await fetch(`http://127.0.0.1:${browser.port}/json/version`)).ok);
  });

  test('Puppeteer by browserURL through a plain port', async () => {
    const { json } = await w.request('POST', '/v1/agents/demo/port', { json: {} });
    const b = await puppeteer.connect({ browserURL: `http://127.0.0.1:${json.port}` });
    await (await puppeteerFlow(b)).close();
    const list = await (await fetch(`http://127.0.0.1:${json.port}/json`)).json();
    assert.match(list[0].webSocketDebuggerUrl, new RegExp(`^ws://127.0.0.1:${json.port}/devtools/page/`));
    await b.disconnect();
    await w.request('DELETE', '/v1/agents/demo/port');
  });

  test('discovery is addressed to how the client came', async () => {
    for (const p of ['/json/version', '/json/version/']) {
      const r = await w.get(`/v1/agents/demo${p}?token=agent-token`, { token: null, headers: { host: `localhost:${w.port}` } });
      assert.match(r.json.webSocketDebuggerUrl, new RegExp(`^ws://localhost:${w.port}/v1/agents/demo/devtools/browser/[0-9a-f-]+\\?token=agent-token$`));
      const ws = await connect(r.json.webSocketDebuggerUrl);
      assert.ok((await rpc(ws)('Browser.getVersion')).result.product);
      ws.close();
    }
    const made = await w.request('PUT', `/v1/agents/demo/json/new?${encodeURIComponent(`${site.url}/popup`)}`, { token: 'agent-token' });
    assert.equal(made.status, 200);
    assert.match(made.json.devtoolsFrontendUrl, /\?ws=127\.0\.0\.1:\d+\/v1\/agents\/demo\/devtools\/page\//);
    const page = await connect(`${made.json.webSocketDebuggerUrl}?token=agent-token`);
    assert.ok((await rpc(page)('Page.getFrameTree')).result.frameTree);
    assert.equal((await w.get(`/v1/agents/demo/json/activate/${made.json.id}`)).text, 'Target activated');
    const end = closed(page);
    assert.equal((await w.get(`/v1/agents/demo/json/close/${made.json.id}`)).text, 'Target is closing');
    assert.equal((await end).code, 1001);
    assert.equal((await w.get(`/v1/agents/demo/json/close/${made.json.id}`)).status, 404);
    for (const url of ['file:///etc/passwd', 'chrome://version', '%66ile:///etc/passwd', 'view-source:http://a/'])
      assert.equal((await w.request('PUT', `/v1/agents/demo/json/new?${url}`, { token: 'agent-token' })).status, 403, url);
    assert.ok((await w.get('/v1/agents/demo/json/protocol')).json.domains.length > 30);
    const list = (await w.get('/v1/agents/demo/json/list', { token: 'viewer-token' })).json;
    assert.ok(list.length > 0 && list.every((t) => t.id && !t.webSocketDebuggerUrl && !t.devtoolsFrontendUrl));
  });

  test('who may connect', async () => {
    assert.equal(await refused(`ws://${api}/cdp`), 401);
    assert.equal(await refused(`ws://${api}/cdp?token=viewer-token`), 403);
    assert.equal(await refused(`ws://127.0.0.1:${w.port}/v1/agents/other/cdp?token=agent-token`), 403);
    assert.equal(await refused(`ws://${api}/devtools/page/00000000000000000000000000000000?token=agent-token`), 404);
    assert.equal(await refused(`ws://${api}/devtools/page/..%2f..%2fx?token=agent-token`), 404);
  });

  test('the filter on the wire, by role', async () => {
    const ws = await connect(`ws://${api}/cdp?token=agent-token`), call = rpc(ws);
    for (const m of ['Browser.crash', 'Browser.crashGpuProcess', 'SystemInfo.getInfo', 'Tracing.start', 'Browser.getBrowserCommandLine', 'Target.exposeDevToolsProtocol'])
      assert.equal((await call(m)).error.code, -32000, m);
    const { result: { targetId } } = await call('Target.createTarget', { url: 'about:blank' });
    const { result: { sessionId } } = await call('Target.attachToTarget', { targetId, flatten: true });
    const crash = await call('Page.crash', {}, { sessionId });
    assert.deepEqual([crash.error.code, crash.sessionId], [-32000, sessionId]);
    for (const url of ['file:///etc/passwd', 'chrome://gpu', 'Fi\tle:///etc/passwd'])
      assert.match((await call('Page.navigate', { url }, { sessionId })).error.message, /agents open http/);
    // The same through a session that is not flat.
    const old = (await call('Target.attachToTarget', { targetId, flatten: false })).result.sessionId;
    const inner = (o) => call('Target.sendMessageToTarget', { sessionId: old, message: JSON.stringify(o) });
    assert.ok((await inner({ id: 1, method: 'Page.enable' })).result);
    assert.match((await inner({ id: 2, method: 'Page.navigate', params: { url: 'file:///' } })).error.message, /inside is not allowed/);
    // Files of the machine do not get into a page by dragging.
    assert.equal((await call('Input.dispatchDragEvent', { type: 'drop', x: 1, y: 1, data: { items: [], files: ['/etc/passwd'], dragOperationsMask: 1 } }, { sessionId })).error.code, -32000);
    await call('Target.closeTarget', { targetId });
    ws.close();
    const admin = await connect(`ws://${api}/cdp?token=admin-token`);
    assert.ok((await rpc(admin)('SystemInfo.getInfo')).result);
    admin.close();
  });

  test('what is not strict is answered as wrong JSON, and the connection goes on', async () => {
    const ws = await connect(`ws://${api}/cdp?token=agent-token`);
    const next = () => new Promise((r) => ws.once('message', (m) => r(JSON.parse(m))));
    for (const [text, code] of [['{', -32700], ['{"id":1,"method":"Browser.getVersion","method":"Browser.crash"}', -32700],
      ['{"id":1,/**/"method":"Browser.crash"}', -32700], ['[]', -32600], ['{"id":"1","method":"Browser.getVersion"}', -32600]]) {
      ws.send(text);
      assert.equal((await next()).error.code, code, text);
    }
    ws.send('{"id":1,"meth', { fin: false });
    ws.send('od":"Browser.getV', { fin: false });
    ws.send('ersion"}');
    assert.ok((await next()).result.product);
    const end = closed(ws);
    ws.send(Buffer.from('{"id":1,"method":"Browser.getVersion"}'));
    assert.equal((await end).code, 1003);
  });

  test('large messages pass; a refused one is never completed', async () => {
    const ws = await connect(`ws://${api}/cdp?token=agent-token`), call = rpc(ws);
    const { result: { targetId } } = await call('Target.createTarget', { url: 'about:blank' });
    const { result: { sessionId } } = await call('Target.attachToTarget', { targetId, flatten: true });
    const n = 30 << 20;
    const r = await call('Runtime.evaluate', { expression: `"${'z'.repeat(n)}".length`, returnByValue: true }, { sessionId });
    assert.equal(r.result.result.value, n);
    const back = await call('Runtime.evaluate', { expression: `"q".repeat(${n})`, returnByValue: true }, { sessionId });
    assert.equal(back.result.result.value.length, n);
    const end = closed(ws);
    ws.send(`{"x":"${'y'.repeat(4 << 20)}","id":9,"method":"Target.closeTarget","method":"Browser.crash"}`);
    assert.equal((await end).code, 1008);
    const again = await connect(`ws://${api}/cdp?token=agent-token`);
    const { result: { targetInfos } } = await rpc(again)('Target.getTargets');
    assert.ok(targetInfos.some((t) => t.targetId === targetId));
    const end2 = closed(again);
    again.send(`{"id":9,"params":{"x":"${'y'.repeat(4 << 20)}"},"method":"Browser.crash"}`);
    const { code, reason } = await end2;
    assert.equal(code, 1008);
    assert.match(reason, /Browser\.crash is not allowed/);
  });

  test('one client stops its screencast; the other, on the same page, goes on', async () => {
    const clients = await Promise.all([1, 2].map(async () => {
      const ws = await connect(`ws://${api}/cdp?token=agent-token`), c = { ws, call: rpc(ws), frames: 0 };
      ws.on('message', (m) => {
        const o = JSON.parse(m);
        if (o.method !== 'Page.screencastFrame') return;
        c.frames++;
        c.call('Page.screencastFrameAck', { sessionId: o.params.sessionId }, { sessionId: o.sessionId });
      });
      return c;
    }));
    const [a, b] = clients;
    const { result: { targetId } } = await a.call('Target.createTarget', { url: 'data:text/html,<p id=p>0<script>setInterval(()=>p.textContent++,50)</script>' });
    for (const c of clients) {
      c.sessionId = (await c.call('Target.attachToTarget', { targetId, flatten: true })).result.sessionId;
      await c.call('Page.enable', {}, { sessionId: c.sessionId });
      await c.call('Page.startScreencast', { format: 'jpeg', quality: 20, everyNthFrame: 1 }, { sessionId: c.sessionId });
    }
    assert.notEqual(a.sessionId, b.sessionId);
    await until('frames for both', () => a.frames > 2 && b.frames > 2);
    assert.ok((await a.call('Page.stopScreencast', {}, { sessionId: a.sessionId })).result);
    // A session of the other client is none for this one.
    assert.ok((await a.call('Page.stopScreencast', {}, { sessionId: b.sessionId })).error);
    const [before, stopped] = [b.frames, a.frames];
    await until('more frames', () => b.frames > before + 3);
    assert.ok(a.frames <= stopped + 1);
    await a.call('Target.closeTarget', { targetId });
    for (const c of clients) c.ws.close();
  });

  test('Browser.close detaches one client, and only it', async () => {
    const a = await connect(`ws://${api}/cdp?token=agent-token`), b = await connect(`ws://${api}/cdp?token=agent-token`);
    const end = closed(a);
    assert.deepEqual((await rpc(a)('Browser.close')).result, {});
    assert.equal((await end).code, 1000);
    assert.ok((await rpc(b)('Browser.getVersion')).result);
    b.close();
  });

  test('screenshot and open without a client', async () => {
    const o = await w.request('POST', '/v1/agents/demo/open', { token: 'agent-token', json: { url: `${site.url}/popup` } });
    assert.deepEqual([o.status, o.json.title, o.json.status, o.json.url], [200, 'Popup', 200, `${site.url}/popup`]);
    assert.equal((await w.request('POST', '/v1/agents/demo/open', { json: { url: `${site.url}/nothing`, new_tab: true } })).json.status, 404);
    const none = await w.request('POST', '/v1/agents/demo/open', { json: { url: 'http://nowhere.invalid:81/x' } });
    assert.deepEqual([none.status, none.json.type], [502, 'navigation-failed']);
    assert.match(none.json.detail, /ERR_NAME_NOT_RESOLVED/);
    assert.match(none.json.hint, /berth policy demo allow nowhere\.invalid/);
    for (const url of ['file:///etc/passwd', 'chrome://gpu', 'javascript:1', 'x', ''])
      assert.equal((await w.request('POST', '/v1/agents/demo/open', { json: { url } })).status, 400, url);
    await w.request('POST', '/v1/agents/demo/open', { json: { url: `data:text/html,${encodeURIComponent('<body style="margin:0;background:#f00;height:3000px">')}` } });
    const size = async (query, token = 'viewer-token') => {
      const r = await w.get(`/v1/agents/demo/screenshot?${query}`, { token });
      assert.equal(r.status, 200, r.text);
      assert.equal(r.headers['content-type'], 'image/png');
      return [r.bytes.readUInt32BE(16), r.bytes.readUInt32BE(20), r.headers['x-berth-scale']];
    };
    const [width, height] = await size('');
    assert.ok(width > 300 && height > 300);
    assert.deepEqual(await size('region=10,20,110,70'), [100, 50, '1']);
    assert.equal((await size('full_page=1'))[1], 3000);
    assert.equal(Math.max(...(await size('max_edge=100')).slice(0, 2)), 100);
    const jpeg = await w.get('/v1/agents/demo/screenshot?format=jpeg&quality=50');
    assert.deepEqual([jpeg.headers['content-type'], jpeg.bytes[0], jpeg.bytes[1]], ['image/jpeg', 0xff, 0xd8]);
    assert.equal((await w.get('/v1/agents/demo/screenshot?format=webp')).bytes.subarray(8, 12).toString(), 'WEBP');
    for (const q of ['format=gif', 'quality=101&format=jpeg', 'quality=5', 'region=1,2,3', 'region=5,5,5,9', 'max_edge=1', 'full_page=x'])
      assert.equal((await w.get(`/v1/agents/demo/screenshot?${q}`)).status, 400, q);
  });

  test('the browser restarts: 1012, and the same address works again', async () => {
    const url = `ws://${api}/cdp?token=agent-token`;
    const a = await connect(url), b = await connect(url);
    const ends = [closed(a), closed(b)];
    await browser.kill();
    for (const e of await Promise.all(ends)) assert.deepEqual(e, { code: 1012, reason: 'the browser restarted; connect again to the same address' });
    await browser.run();
    const again = await connect(url);
    assert.ok((await rpc(again)('Browser.getVersion')).result);
    again.close();
  });
});

// A guest that says what it likes on the browser's port. answer(socket, url): what to do once a WebSocket is asked for.
class Liar {
  static async start() {
    const l = new Liar();
    l.version = () => JSON.stringify({ Browser: 'x', webSocketDebuggerUrl: 'ws://127.0.0.1:1/devtools/browser/abc' });
    l.handshake = (key) => `HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')}\r\n\r\n`;
    l.sockets = new Set();
    l.server = net.createServer((s) => {
      l.sockets.add(s);
      s.on('error', () => {});
      s.on('close', () => l.sockets.delete(s));
      let head = '';
      s.on('data', function first(d) {
        head += d.toString('latin1');
        if (!head.includes('\r\n\r\n')) return;
        s.off('data', first);
        l.head = head;
        const key = /Sec-WebSocket-Key: (\S+)/.exec(head)?.[1];
        if (key) { s.write(l.handshake(key)); l.serve?.(s); return; }
        const body = l.version();
        s.end(body.raw ?? `HTTP/1.1 200 OK\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      });
    });
    await new Promise((r) => l.server.listen(0, '127.0.0.1', r));
    return l;
  }

  stop() { for (const s of this.sockets) s.destroy(); this.server.close(); }
}

const frame = (op, payload, { fin = true, len = payload.length, mask = false } = {}) => {
  const h = [(fin ? 0x80 : 0) | op];
  if (len < 126) h.push(len | (mask ? 0x80 : 0));
  else if (len < 65536) h.push(126, len >> 8, len & 255);
  else { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(len)); h.push(127, ...b); }
  if (mask) h.push(0, 0, 0, 0);
  return Buffer.concat([Buffer.from(h), Buffer.from(payload)]);
};

describe('with a guest that lies', () => {
  let w, liar, url;

  before(async () => {
    liar = await Liar.start();
    w = await World.start({ cdpPort: liar.server.address().port });
    url = `ws://127.0.0.1:${w.port}/v1/agents/demo/cdp?token=agent-token`;
  });
  after(async () => { await w?.stop(); liar?.stop(); });

  test('the request to the browser is what Chromium takes', async () => {
    liar.serve = () => {};
    (await connect(url)).close();
    assert.match(liar.head, /^GET \/devtools\/browser\/abc HTTP\/1\.1\r\nHost: 127\.0\.0\.1:9222\r\n/);
    assert.doesNotMatch(liar.head, /origin|extensions|token/i);
  });

  for (const [what, bytes, reason] of [
    ['a masked frame', frame(1, 'x', { mask: true }), /masked/],
    ['a binary message', frame(2, 'x'), /not text/],
    ['a continuation of nothing', frame(0, 'x'), /out of order/],
    ['a message inside another', Buffer.concat([frame(1, 'x', { fin: false }), frame(1, 'y')]), /out of order/],
    ['reserved bits', Buffer.from([0xc1, 0]), /broken frame/],
    ['an unknown operation', Buffer.from([0x83, 0]), /broken frame/],
    ['a ping in fragments', frame(9, 'x', { fin: false }), /broken frame/],
    ['a length that is not minimal', Buffer.from([0x81, 126, 0, 5]), /broken frame/],
    ['a message of 300 MiB', frame(1, 'x', { len: 300 << 20 }), /over 256 MiB/],
    ['fragments of over 256 MiB', Buffer.concat([frame(1, 'xx', { fin: false }), frame(0, '', { len: 256 << 20 })]), /over 256 MiB/],
  ]) {
    test(`${what} ends that connection, with a reason, and no other`, async () => {
      liar.serve = () => {};
      const other = await connect(url);
      liar.serve = (s) => s.write(bytes);
      const ws = await connect(url);
      const { code, reason: got } = await closed(ws);
      assert.equal(code, 1011);
      assert.match(got, reason);
      assert.equal(other.readyState, WebSocket.OPEN);
      other.close();
    });
  }

  test('an answer of ours waits for the end of the message under way; pings between are answered', async () => {
    let guest;
    liar.serve = (s) => { guest = s; s.write(frame(1, '{"one":', { fin: false })); };
    const ws = await connect(url), got = [], from = [];
    ws.on('message', (m) => got.push(String(m)));
    await until('the guest', () => guest);
    guest.on('data', (d) => from.push(d));
    guest.write(frame(9, 'first')); // answered once the gateway has read what came before it
    await until('the first pong', () => Buffer.concat(from).length === 6 + 'first'.length);
    from.length = 0;
    ws.send('{"id":5,"method":"Browser.crash"}');
    ws.send('{"id":6,"method":"Browser.getVersion"}');
    const passes = 6 + '{"id":6,"method":"Browser.getVersion"}'.length; // and nothing of what is refused
    await until('what passes', () => Buffer.concat(from).length === passes);
    guest.write(frame(9, 'hello'));
    await until('a pong', () => Buffer.concat(from).length === passes + 6 + 'hello'.length);
    assert.equal(Buffer.concat(from)[passes], 0x8a);
    assert.deepEqual(got, []);
    guest.write(frame(0, '1', { fin: false }));
    guest.write(frame(0, '}'));
    guest.write(frame(1, ''));
    await until('three messages', () => got.length === 3);
    assert.equal(got[0], '{"one":1}');
    assert.equal(JSON.parse(got[1]).id, 5);
    assert.equal(got[2], '');
    ws.close();
  });

  test('order is kept, byte by byte', async () => {
    const texts = Array.from({ length: 50 }, (_, i) => `{"n":${i},"t":"${'é'.repeat(i * 37)}"}`);
    liar.serve = async (s) => {
      const all = Buffer.concat(texts.map((t) => frame(1, Buffer.from(t))));
      s.setNoDelay(true);
      for (let i = 0; i < all.length; i += 997) { s.write(all.subarray(i, i + 997)); if (i % 5 === 0) await sleep(1); }
    };
    const ws = new WebSocket(url, { perMessageDeflate: false }), got = [];
    ws.on('message', (m) => got.push(String(m)));
    await opened(ws);
    await until('all messages', () => got.length === texts.length);
    assert.deepEqual(got, texts);
    ws.close();
  });

  test('handshakes that are wrong are 503, not a connection', async () => {
    const right = liar.handshake;
    for (const h of [() => 'HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n',
      (k) => right(k).replace('101', '200'), (k) => right(k).replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n'),
      () => `HTTP/1.1 101 x\r\n${'a'.repeat(20000)}`, () => 'SSH-2.0-x\r\n\r\n', (k) => right(k).replaceAll('\r\n', '\n')]) {
      liar.handshake = h;
      assert.equal(await refused(url), 503);
    }
    liar.handshake = right;
  });

  test('discovery is rebuilt: nothing the guest invents gets through', async () => {
    liar.version = () => JSON.stringify({ Browser: 'x', evil: '<script>', webSocketDebuggerUrl: 'ws://evil.example/devtools/browser/abc' });
    const v = await w.get('/v1/agents/demo/json/version');
    assert.deepEqual(Object.keys(v.json), ['Browser', 'webSocketDebuggerUrl']);
    assert.equal(v.json.webSocketDebuggerUrl, `ws://127.0.0.1:${w.port}/v1/agents/demo/devtools/browser/abc`);
    liar.version = () => JSON.stringify([{ id: 'A1', type: 'page', title: 't', extra: 1, webSocketDebuggerUrl: 'ws://evil/', devtoolsFrontendUrl: 'https://evil.example/?ws=1' },
      { id: '../x', type: 'page' }, 5, { id: 'B2', devtoolsFrontendUrl: '/devtools/inspector.html?ws=evil/devtools/page/B2' }]);
    assert.deepEqual((await w.get('/v1/agents/demo/json')).json, [
      { id: 'A1', title: 't', type: 'page', webSocketDebuggerUrl: `ws://127.0.0.1:${w.port}/v1/agents/demo/devtools/page/A1` },
      { devtoolsFrontendUrl: `/devtools/inspector.html?ws=127.0.0.1:${w.port}/v1/agents/demo/devtools/page/B2`, id: 'B2', webSocketDebuggerUrl: `ws://127.0.0.1:${w.port}/v1/agents/demo/devtools/page/B2` }]);
    for (const body of ['{', '[]', '{"webSocketDebuggerUrl":"ws://x/devtools/browser/a/../b"}', '{"webSocketDebuggerUrl":7}', '[['.repeat(300)]) {
      liar.version = () => body;
      assert.equal((await w.get('/v1/agents/demo/json/version')).status, 502, body.slice(0, 50));
    }
  });

  test('a crowd: the 65th client of an agent is told so', async () => {
    liar.version = () => JSON.stringify({ webSocketDebuggerUrl: 'ws://x/devtools/browser/abc' });
    liar.serve = () => {};
    const all = await Promise.all(Array.from({ length: 64 }, () => connect(url)));
    assert.equal(await refused(url), 429);
    all.forEach((ws) => ws.terminate());
    await until('room again', async () => {
      const r = await refused(url);
      return r === 'opened';
    });
  });
});
