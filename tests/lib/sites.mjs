// The small site that every name of the test internet serves: what people do on the web, one page each.
import crypto from 'node:crypto';

import { goodsPages, servePublic } from './goods.mjs';
import { leakPages } from './leaks.mjs';

export const PASSWORD = 'korrekt-pferd';
export const DOWNLOAD_NAME = 'report.bin';
/** 300,000 bytes that are the same everywhere. */
export const DOWNLOAD = Buffer.from(Array.from({ length: 300000 }, (_, i) => (i * 31 + (i >> 8)) & 255));
export const DOWNLOAD_SHA256 = crypto.createHash('sha256').update(DOWNLOAD).digest('hex');
export const SCRIPTS_TEXT = 'English · 日本語 · 中文 · 한국어 · العربية · ελληνικά · 🦊🌍';

const sessions = new Map(); // cookie → user

function html(res, title, body, status = 200, headers = {}) {
  res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store', ...headers });
  res.end(`<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<style>body{font:18px sans-serif;margin:2em;background:#fdf6e3}h1{color:#285577}</style><h1>${title}</h1>${body}</html>`);
}

function cookies(req) {
  return Object.fromEntries(
    String(req.headers.cookie ?? '')
      .split(/;\s*/)
      .filter(Boolean)
      .map((c) => [c.slice(0, c.indexOf('=')), c.slice(c.indexOf('=') + 1)]),
  );
}

async function body(req) {
  const chunks = [];
  for await (const c of req) chunks.push(c);
  return Buffer.concat(chunks);
}

/** The one file of a multipart form: {name, data}, or null. */
function multipart(req, data) {
  const boundary = /boundary=(.+)$/.exec(req.headers['content-type'] ?? '')?.[1];
  const start = data.indexOf('\r\n\r\n');
  const end = boundary ? data.lastIndexOf(`\r\n--${boundary}`) : -1;
  if (start < 0 || end < start) return null;
  return { name: /filename="([^"]*)"/.exec(data.toString('latin1', 0, start))?.[1] ?? '', data: data.subarray(start + 4, end) };
}

const pages = {
  ...leakPages,
  ...goodsPages,

  '/': (req, res, me) =>
    html(res, `Welcome to ${me.host}`, `<p id="words">${SCRIPTS_TEXT}</p><p>over ${me.scheme}</p><a id="in" href="/login">Sign in</a>`),

  '/login': async (req, res, me) => {
    if (req.method !== 'POST') {
      return html(
        res,
        `Sign in to ${me.host}`,
        '<form method="post"><input name="user" id="user"><input name="password" id="password" type="password"><button id="go">Sign in</button></form>',
      );
    }
    const form = new URLSearchParams((await body(req)).toString());
    if (form.get('password') !== PASSWORD) return html(res, 'Wrong password', '', 403);
    const id = crypto.randomBytes(16).toString('hex');
    sessions.set(id, form.get('user'));
    res.writeHead(303, { location: '/account', 'set-cookie': `session=${id}; HttpOnly; Path=/; Max-Age=31536000` });
    return res.end();
  },

  '/account': (req, res, me) => {
    const user = sessions.get(cookies(req).session);
    if (!user) return html(res, 'Nobody is signed in', '<p id="who">nobody</p>', 401);
    return html(res, `Account at ${me.host}`, `<p id="who">${user.replace(/[^a-z0-9]/g, '')}</p>`);
  },

  '/storage': (req, res) =>
    html(
      res,
      'Storage',
      `<button id="save">Save</button> <button id="load">Load</button><p id="local"></p><p id="db"></p><script>
const open = () => new Promise((ok, no) => { const r = indexedDB.open('notes', 1);
  r.onupgradeneeded = () => r.result.createObjectStore('n'); r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
const done = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
document.querySelector('#save').onclick = async () => {
  localStorage.setItem('colour', 'saffron');
  const db = await open(), t = db.transaction('n', 'readwrite', { durability: 'strict' });
  t.objectStore('n').put({ text: 'remember the milk' }, 1);
  await new Promise((ok) => { t.oncomplete = ok; });
  document.querySelector('#local').textContent = 'saved';
};
document.querySelector('#load').onclick = async () => {
  document.querySelector('#local').textContent = localStorage.getItem('colour') ?? 'none';
  const db = await open(), v = await done(db.transaction('n').objectStore('n').get(1));
  document.querySelector('#db').textContent = v ? v.text : 'none';
};</script>`,
    ),

  '/form': (req, res) =>
    html(
      res,
      'Order form',
      `<input id="what"><select id="how"><option>one<option>two</select><input type="checkbox" id="gift"><button id="order">Order</button><p id="out"></p><script>
document.querySelector('#order').onclick = async () => {
  const text = [what.value, how.value, gift.checked].join('|');
  const r = await fetch('/echo', { method: 'POST', body: text });
  document.querySelector('#out').textContent = await r.text();
};</script>`,
    ),

  '/echo': async (req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'access-control-allow-origin': '*' });
    res.end(`got ${(await body(req)).toString()}`);
  },

  '/popup': (req, res, me) =>
    html(res, 'Popup', `<button id="open" onclick="window.open('${me.scheme}://${me.other}/popped?from=${me.host}')">Open</button>`),
  '/popped': (req, res, me) => html(res, `Popped up at ${me.host}`, '<button id="close" onclick="window.close()">Close</button>'),

  '/frame': (req, res, me) =>
    html(
      res,
      'Frame',
      `<iframe id="inner" src="${me.scheme}://${me.other}/framed" width="400" height="200"></iframe><p id="heard"></p>
<script>onmessage = (e) => { document.querySelector('#heard').textContent = e.origin + ' ' + e.data; };</script>`,
    ),
  '/framed': (req, res, me) =>
    html(res, `Framed ${me.host}`, `<button id="say" onclick="parent.postMessage('hello from inside', '*')">Say</button>`),

  '/upload': async (req, res) => {
    if (req.method !== 'POST')
      return html(res, 'Upload', '<form method="post" enctype="multipart/form-data"><input type="file" name="f" id="file"><button id="send">Send</button></form>');
    const data = await body(req);
    const file = multipart(req, data);
    const digest = file ? crypto.createHash('sha256').update(file.data).digest('hex') : 'none';
    return html(res, 'Uploaded', `<p id="name">${(file?.name ?? '').replace(/[^\w.-]/g, '')}</p><p id="size">${file?.data.length}</p><p id="digest">${digest}</p>`);
  },

  '/downloads': (req, res) => html(res, 'Downloads', `<a id="get" href="/files/${DOWNLOAD_NAME}">The report</a>`),
  [`/files/${DOWNLOAD_NAME}`]: (req, res) => {
    res.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': DOWNLOAD.length,
      'content-disposition': `attachment; filename="${DOWNLOAD_NAME}"`,
    });
    res.end(DOWNLOAD);
  },

  '/socket': (req, res, me) =>
    html(
      res,
      'Socket',
      `<p id="state">waiting</p><pre id="log"></pre><script>
const s = new WebSocket('${me.scheme === 'https' ? 'wss' : 'ws'}://${me.host}/ws');
s.onopen = () => { state.textContent = 'open'; s.send('hello'); s.send('z'.repeat(70000)); };
s.onmessage = (e) => { log.textContent += (e.data.length > 100 ? 'long ' + e.data.length : e.data) + '\\n'; };
s.onerror = () => { state.textContent = 'error'; };
s.onclose = () => { if (state.textContent === 'open') state.textContent = 'closed'; };</script>`,
    ),

  '/world': (req, res) => html(res, 'World', `<p id="words" style="font-size:32px">${SCRIPTS_TEXT}</p>`),

  // Tries to load from everywhere it should not; what each attempt came to stands in the page.
  '/leak': (req, res, me) =>
    html(
      res,
      'Leak',
      `<pre id="out"></pre><img src="${me.scheme}://evil.test/pixel.png"><link rel="dns-prefetch" href="//prefetch.evil.test"><script>
(async () => { const out = {};
  for (const u of ['http://evil.test/', 'https://evil.test/', 'https://bank.test/echo', 'https://198.51.100.66/', 'http://198.51.100.10/',
      'http://10.0.2.2:80/', 'http://169.254.169.254/', 'http://evilshop.test/', 'https://shop.test.evil.test/', 'http://${me.host}:8080/echo', 'http://[2001:db8::1]/'])
    out[u] = await fetch(u, { mode: 'no-cors', signal: AbortSignal.timeout(8000) }).then(() => 'reached', (e) => e.name);
  document.querySelector('#out').textContent = JSON.stringify(out); document.title = 'Leak done'; })();</script>`,
    ),

  '/slow': async (req, res, me) => {
    await new Promise((ok) => setTimeout(ok, 3000));
    html(res, `Slow ${me.host}`, '');
  },
};

/** Answers one request. Every name is the same site; `other` is the partner for popups and frames. */
export async function serveSite(req, res, scheme) {
  const host = String(req.headers[':authority'] ?? req.headers.host ?? '').toLowerCase();
  const me = { scheme, host, other: host.startsWith('bank.') ? 'shop.test' : 'bank.test' };
  const page = pages[new URL(req.url, 'http://x').pathname];
  try {
    if (page) await page(req, res, me);
    else if (req.url.startsWith('/pub/')) servePublic(req, res);
    else html(res, 'Not found', '', 404);
  } catch {
    res.destroy();
  }
}
