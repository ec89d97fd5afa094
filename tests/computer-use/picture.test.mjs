// Pictures through the real gateway: what Chromium captured, its sizes, rest before the capture, the cursor; and guests that send none.
import assert from 'node:assert/strict';
import http from 'node:http';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { readPng, writePng } from '../lib/png.mjs';
import { Chromium, noChromium } from '../gateway/chromium.mjs';
import { World, sleep, until } from '../gateway/lib.mjs';
import { WebSocket } from '../gateway/ws.mjs';

const { WebSocketServer } = createRequire(new URL('../e2e/package.json', import.meta.url))('ws');

// One connection to the page in front, beside the gateway.
async function page(port) {
  const [{ id }] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()).filter((t) => t.type === 'page');
  const ws = await WebSocket.open(port, `/devtools/page/${id}`), waiting = new Map();
  let n = 0;
  ws.onMessage = (text) => {
    const m = JSON.parse(text);
    waiting.get(m.id)?.(m);
  };
  const call = (method, params = {}) => new Promise((r, j) => {
    waiting.set(++n, (m) => (m.error ? j(new Error(m.error.message)) : r(m.result)));
    ws.send(JSON.stringify({ id: n, method, params }));
  });
  const capture = async (params) => Buffer.from((await call('Page.captureScreenshot', params)).data, 'base64');
  return { call, capture, close: () => ws.socket.destroy() };
}

// Text, lines, a gradient, a place that is no whole number of pixels, longer than the view. Still.
const STILL = `<!doctype html><style>body{margin:0;font:13px sans-serif;caret-color:transparent}
  #g{height:700px;background:linear-gradient(30deg,#f40,#08f)}
  #s{position:absolute;left:40.5px;top:30.25px;width:200px;height:90px;border:1px solid #000;background:#fff8}
  #l{height:1500px;background:repeating-linear-gradient(0deg,#fff 0 3px,#345 3px 5px)}</style>
  <div id=g><div id=s>${'The quick brown fox. '.repeat(20)}</div></div><div id=l></div>`;

const RESTLESS = `const busy = setInterval(() => fetch('/x'), 50);
  function change() { clearInterval(busy); fetch('/later').then(() => setTimeout(() => document.body.style.background = '#0f0', 20)); }`;

function site() {
  const server = http.createServer(async (q, r) => {
    r.setHeader('content-type', 'text/html');
    if (q.url === '/later') await sleep(300);
    if (q.url === '/never') return;
    if (q.url === '/stream') { r.setHeader('content-type', 'text/event-stream'); r.flushHeaders(); return; }
    r.end({ '/': STILL,
      // Restless until it is told to ask for what takes 300 ms, and to show that.
      '/wait': `<body style="background:#f00"><script>${RESTLESS}</script>`,
      '/stream-wait': `<body style="background:#f00"><script>new EventSource('/stream'); ${RESTLESS}</script>`,
      '/busy': '<body style="background:#f00"><script>setInterval(() => fetch("/x"), 50)</script>',
      '/hung': '<body style="background:#f00"><script>setInterval(() => fetch("/never"), 150)</script>',
      '/picture-hangs': '<body style="background:#f00"><img src=/never>',
      '/no-frames': '<body style="background:#f00"><script>requestAnimationFrame = () => {}; Promise = null</script>',
      '/bare': '<body style="margin:0;background:#fff">' }[q.url] ?? '');
  });
  return new Promise((r) => server.listen(0, '127.0.0.1', () => r({ server, url: `http://127.0.0.1:${server.address().port}` })));
}

// The mean of a block of pixels, half up: the area filter where its factor is whole.
function blocks(p, factor) {
  const width = p.width / factor, height = p.height / factor, out = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) {
    let sum = 0;
    for (let j = 0; j < factor; j++) for (let i = 0; i < factor; i++) sum += p.pixels[((y * factor + j) * p.width + x * factor + i) * p.channels + c];
    out[(y * width + x) * 3 + c] = Math.floor(sum / factor ** 2 + 0.5);
  }
  return out;
}

for (const scale of [1, 2]) {
  describe(`with a real Chromium at device scale ${scale}`, { skip: noChromium }, () => {
    let w, browser, s, p;
    const WIDTH = 640, HEIGHT = 400;
    const get = async (query = '', token = 'viewer-token') => {
      const r = await w.get(`/v1/agents/demo/screenshot?${query}`, { token });
      assert.equal(r.status, 200, `${query}: ${r.text.slice(0, 300)}`);
      return r;
    };
    const picture = async (query) => {
      const r = await get(query), png = readPng(r.bytes);
      return { ...png, scale: r.headers['x-berth-scale'], settled: r.headers['x-berth-settled'] };
    };
    const go = async (where) => {
      await p.call('Page.navigate', { url: s.url + where });
      await sleep(50);
    };
    const still = async () => {
      await go('/');
      await get('wait_for_idle=10000');
    };

    before(async () => {
      s = await site();
      browser = await Chromium.start({ flags: [`--force-device-scale-factor=${scale}`, '--hide-scrollbars', '--blink-settings=scrollAnimatorEnabled=false'] });
      w = await World.start({ cdpPort: browser.port });
      p = await page(browser.port);
      // The window, not an emulation, which would be this connection's alone.
      // It takes its time, and has a frame.
      await until('the window', async () => {
        const { windowId, bounds } = await p.call('Browser.getWindowForTarget');
        const { cssVisualViewport: v } = await p.call('Page.getLayoutMetrics');
        if (v.clientWidth === WIDTH && v.clientHeight === HEIGHT) return true;
        const larger = { width: bounds.width + WIDTH - v.clientWidth, height: bounds.height + HEIGHT - v.clientHeight };
        await p.call('Browser.setWindowBounds', { windowId, bounds: larger });
        await sleep(200);
        return false;
      });
      await still();
    });
    after(async () => {
      p?.close();
      await w?.stop();
      await browser?.stop();
      s?.server.closeAllConnections();
      s?.server.close();
    });

    test('nothing scaled: the bytes that Chromium captured', async () => {
      const own = await p.capture(), r = await get();
      assert.ok(r.bytes.equals(own));
      assert.equal(r.headers['x-berth-scale'], '1');
      assert.equal(r.headers['x-berth-settled'], undefined);
      const png = readPng(own);
      assert.deepEqual([png.width, png.height], [WIDTH * scale, HEIGHT * scale]);
      assert.ok((await get(`max_edge=${WIDTH * scale}`)).bytes.equals(own));
      for (const format of ['jpeg', 'webp'])
        for (const max of ['', `&max_edge=${WIDTH * scale}`])
          assert.ok((await get(`format=${format}&quality=70${max}`)).bytes.equals(await p.capture({ format, quality: 70 })), format + max);
      const region = await get('region=10,20,110,70');
      assert.ok(region.bytes.equals(await p.capture({ clip: { x: 10, y: 20, width: 100, height: 50, scale: 1 } })));
    });

    test('a region has the device\'s pixels', async () => {
      const all = readPng(await p.capture()), part = await picture('region=10,20,110,70');
      assert.deepEqual([part.width, part.height, part.scale], [100 * scale, 50 * scale, '1']);
      for (let y = 0; y < part.height; y++) {
        const a = part.pixels.subarray(y * part.width * 3, (y + 1) * part.width * 3);
        const at = ((20 * scale + y) * all.width + 10 * scale) * 3;
        assert.ok(a.equals(all.pixels.subarray(at, at + a.length)), `row ${y}`);
      }
      // Of a page that is scrolled it is a region of what is seen.
      await p.call('Runtime.evaluate', { expression: 'scrollTo(0, 333)' });
      const scrolled = readPng(await p.capture()), low = await picture('region=0,100,50,120');
      const at = 100 * scale * scrolled.width * 3;
      assert.ok(low.pixels.subarray(0, low.width * 3).equals(scrolled.pixels.subarray(at, at + low.width * 3)));
      await p.call('Runtime.evaluate', { expression: 'scrollTo(0, 0)' });
    });

    test('scaled: exact sizes, each pixel the mean of its area', async () => {
      const own = readPng(await p.capture());
      for (const factor of [2, 4]) {
        const small = await picture(`max_edge=${own.width / factor}`);
        assert.deepEqual([small.width, small.height, small.scale], [own.width / factor, own.height / factor, String(1 / factor)]);
        assert.ok(small.pixels.equals(blocks(own, factor)), `a ${factor}th`);
      }
      for (const max of [16, 100, 333, 639]) {
        const odd = await picture(`max_edge=${max}`);
        assert.deepEqual([odd.width, odd.height], [max, Math.floor(own.height * max / own.width + 0.5)]);
        assert.ok(Math.abs(Number(odd.scale) - max / own.width) < 1e-5);
      }
      const region = await picture('region=0,0,100,300&max_edge=150');
      assert.deepEqual([region.width, region.height], [50, 150]);
    });

    test('scaled in the other formats', async () => {
      const jpeg = await get('format=jpeg&max_edge=100&quality=90'), webp = await get('format=webp&max_edge=100');
      assert.deepEqual([jpeg.headers['content-type'], jpeg.bytes[0], jpeg.bytes[1]], ['image/jpeg', 0xff, 0xd8]);
      assert.deepEqual([webp.headers['content-type'], webp.bytes.toString('latin1', 0, 4), webp.bytes.toString('latin1', 8, 12)], ['image/webp', 'RIFF', 'WEBP']);
      assert.equal(jpeg.headers['x-berth-scale'], String(Number((100 / (WIDTH * scale)).toPrecision(6))));
      // A browser reads them: same size, and about the colours of the same picture as PNG.
      const png = await picture('max_edge=100');
      for (const r of [jpeg, webp]) {
        const expression = `(async () => { const b = await createImageBitmap(await (await fetch('data:${r.headers['content-type']};base64,${r.bytes.toString('base64')}')).blob());
          const c = new OffscreenCanvas(b.width, b.height).getContext('2d'); c.drawImage(b, 0, 0);
          return [b.width, b.height, ...c.getImageData(0, 0, b.width, b.height).data]; })()`;
        const { result } = await p.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
        const [width, height, ...data] = result.value;
        assert.deepEqual([width, height], [png.width, png.height]);
        let sum = 0;
        for (let i = 0; i < width * height; i++) for (let c = 0; c < 3; c++) sum += Math.abs(data[i * 4 + c] - png.pixels[i * 3 + c]);
        assert.ok(sum / width / height / 3 < 12, `${r.headers['content-type']} is off by ${sum / width / height / 3} in the mean`);
      }
    });

    test('the whole page', async () => {
      const full = await picture('full_page=1');
      assert.deepEqual([full.width, full.height, full.scale], [WIDTH * scale, 2200 * scale, '1']);
      const first = readPng(await p.capture());
      assert.ok(full.pixels.subarray(0, first.pixels.length).equals(first.pixels));
      const small = await picture('full_page=1&max_edge=550');
      assert.deepEqual([small.width, small.height], [WIDTH / 4, 550]);
      assert.ok(small.pixels.equals(blocks(full, 4 * scale)));
    });

    test('the cursor\'s tip is where it is said to be', async () => {
      await go('/bare');
      await get('wait_for_idle=10000');
      const dark = (q) => {
        for (let i = 0; i < q.width * q.height; i++) if (q.pixels[i * 3] === 0) return [i % q.width, Math.floor(i / q.width)];
        return null;
      };
      assert.deepEqual(dark(await picture('cursor=100,50')), [100 * scale, 50 * scale]);
      assert.deepEqual(dark(await picture('cursor=0,0')), [0, 0]);
      assert.deepEqual(dark(await picture(`cursor=${WIDTH - 1},${HEIGHT - 1}`)), [(WIDTH - 1) * scale, (HEIGHT - 1) * scale]);
      assert.equal(dark(await picture('cursor=100000,5')), null);
      assert.deepEqual(dark(await picture(`cursor=100,50&max_edge=${WIDTH / 2}`)), [50, 25]);
      assert.deepEqual(dark(await picture('cursor=100,50&region=90,40,200,200')), [10 * scale, 10 * scale]);
      assert.deepEqual(dark(await picture('cursor=100,50&full_page=1')), [100 * scale, 50 * scale]);
      assert.equal((await get('cursor=5,5&format=jpeg')).bytes[0], 0xff);
      await still();
    });

    test('the picture waits until the page rests', async () => {
      const colour = (q) => [...q.pixels.subarray(0, 3)].join();
      for (const where of ['/wait', '/stream-wait']) {
        await go(where);
        const early = await picture();
        assert.deepEqual([colour(early), early.settled], ['255,0,0', undefined], where);
        const later = picture('wait_for_idle=20000');
        await sleep(1500);
        await p.call('Runtime.evaluate', { expression: 'change()' });
        const rested = await later;
        assert.deepEqual([colour(rested), rested.settled], ['0,255,0', 'true'], where);
      }
      // What never rests is taken when the time is up.
      for (const where of ['/busy', '/hung', '/picture-hangs']) {
        await go(where);
        const t = Date.now(), r = await picture('wait_for_idle=900');
        assert.deepEqual([colour(r), r.settled], ['255,0,0', 'false'], where);
        assert.ok(Date.now() - t >= 900);
      }
      // What a page makes of its own functions is its own affair.
      await go('/no-frames');
      assert.equal((await picture('wait_for_idle=20000')).settled, 'true');
      await still();
    });

    test('what is wrong is named', async () => {
      const rows = { format: ['gif', '', 'PNG', 'png%00'], quality: ['101&format=jpeg', '-1&format=jpeg', '5'], region: ['1,2,3', '5,5,5,9', '1,2,3,4,5', 'a,b,c,d'],
        max_edge: ['1', '16385', '1e3'], full_page: ['x'], cursor: ['1', '-1,0', '1,2,3', '1.5,2'], wait_for_idle: ['30001', '-1', 'x'] };
      for (const [name, values] of Object.entries(rows)) {
        for (const v of values) {
          const r = await w.get(`/v1/agents/demo/screenshot?${name}=${v}`);
          assert.deepEqual([r.status, r.json.type], [400, 'invalid-request'], `${name}=${v}`);
          assert.ok(r.json.detail.startsWith(name), r.json.detail);
        }
      }
      assert.match((await w.get('/v1/agents/demo/screenshot?region=5000,5000,6000,6000')).json.detail, /region/);
      assert.match((await w.get('/v1/agents/demo/screenshot?max_edge=1')).json.detail, /16 to 16384/);
    });

    test('twenty at once leave the gateway free to answer', async () => {
      let waiting = 20, slowest = 0, asked = 0;
      const all = Array.from({ length: 20 }, (_, i) => w.get(`/v1/agents/demo/screenshot?max_edge=${300 + i}&format=${['png', 'jpeg', 'webp'][i % 3]}`)
        .finally(() => { waiting--; }));
      while (waiting) {
        const t = performance.now();
        assert.equal((await w.get('/healthz')).status, 200);
        slowest = Math.max(slowest, performance.now() - t);
        asked++;
        await sleep(5);
      }
      const status = (await Promise.all(all)).map((r) => r.status);
      assert.ok(status.every((v) => v === 200 || v === 429) && status.filter((v) => v === 200).length >= 10, String(status));
      assert.ok(asked > 5 && slowest < 1000, `${asked} answers, the slowest after ${slowest} ms`);
    });

    test('a client that leaves early is no burden', async () => {
      for (let i = 0; i < 5; i++) {
        const q = http.get({ host: '127.0.0.1', port: w.port, path: '/v1/agents/demo/screenshot?full_page=1&max_edge=400', headers: { authorization: 'Bearer admin-token' } });
        q.on('error', () => {});
        await sleep(20 + i * 40);
        q.destroy();
      }
      assert.equal((await get('max_edge=100')).status, 200);
    });
  });
}

// A browser that answers with what it is told to.
class Liar {
  static async start() {
    const l = new Liar();
    l.layout = {}; // no layout at all: nobody knows what will be changed
    l.server = http.createServer((q, r) => r.end(JSON.stringify([{ id: 'A1', type: 'page' }])));
    l.wss = new WebSocketServer({ server: l.server, perMessageDeflate: false });
    l.wss.on('connection', (ws) => {
      ws.on('error', () => {});
      ws.on('message', (text) => {
        const m = JSON.parse(text);
        l.asked.push(m.params);
        const result = m.method === 'Page.captureScreenshot' ? { data: l.picture(m.params) } : l.layout;
        ws.send(JSON.stringify({ id: m.id, result }));
      });
    });
    await new Promise((r) => l.server.listen(0, '127.0.0.1', r));
    return l;
  }

  stop() { for (const c of this.wss.clients) c.terminate(); this.server.close(); this.server.closeAllConnections(); }
}

describe('with a guest that lies', () => {
  let w, liar;
  const rgb = (width, height, more = {}) => writePng({ width, height, stride: width * 3, pixels: Buffer.alloc(width * height * 3, 9), ...more });
  const ask = async (picture, query) => {
    liar.asked = [];
    liar.picture = typeof picture === 'function' ? picture : () => (typeof picture === 'string' ? picture : picture.toString('base64'));
    return w.get(`/v1/agents/demo/screenshot?${query}`);
  };

  before(async () => {
    liar = await Liar.start();
    w = await World.start({ cdpPort: liar.server.address().port });
  });
  after(async () => { await w?.stop(); liar?.stop(); });

  test('what is no picture is 502, with and without a change to it', async () => {
    const good = rgb(64, 64), bent = Buffer.from(good), long = 'A'.repeat(4 << 20);
    bent[40] ^= 1; // picture data: its checksum is wrong
    for (const none of ['', 'A', '====', '!!!!', 'AAAA', long, Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.from('GIF89a  ')])
      for (const query of ['', 'max_edge=32', 'format=jpeg', 'cursor=1,1'])
        assert.deepEqual([(await ask(none, query)).status, (await ask(none, query)).json.type], [502, 'browser-unavailable'], `${none.slice(0, 9)} ${query}`);
    for (const odd of [bent, good.subarray(0, good.length - 20), good.subarray(0, 60), rgb(64, 64, { type: 3, stride: 64 }), rgb(32, 64, { depth: 16, stride: 192 }),
      rgb(64, 64, { interlace: 1 }), rgb(64, 64, { type: 0, stride: 64 }), rgb(65, 64, { stride: 192 }), rgb(1, 1, { width: 65535, height: 65535 }), rgb(1, 1, { width: 0xffffffff })])
      assert.equal((await ask(odd, 'max_edge=32')).status, 502);
    for (const many of [rgb(1, 1, { width: 32768, height: 32768 })]) {
      const r = await ask(many, 'max_edge=32');
      assert.deepEqual([r.status, r.json.type], [413, 'too-large']);
    }
    assert.equal((await ask(good, 'max_edge=32')).status, 200);
  });

  test('a JPEG that must be changed is asked for again as PNG, once', async () => {
    const jpeg = Buffer.from('ffd8ffc0000b08004000400101110000', 'hex');
    assert.ok((await ask(jpeg, 'format=jpeg')).bytes.equals(jpeg));
    const r = await ask(({ format }) => (format === 'jpeg' ? jpeg : rgb(64, 64)).toString('base64'), 'format=jpeg&max_edge=32');
    assert.deepEqual([r.status, r.headers['content-type'], liar.asked.length], [200, 'image/jpeg', 1 + 2], r.text);
    assert.equal((await ask(jpeg, 'format=jpeg&max_edge=32')).status, 502);
    assert.equal(liar.asked.length, 1 + 2);
    assert.equal((await ask(jpeg, 'format=webp')).status, 502);
  });

  test('a layout of nonsense is nothing worse than a wrong picture', async () => {
    for (const v of [{ pageX: 1e308, pageY: -1e308, clientWidth: 1e308, clientHeight: 1e308 }, { pageX: 'x', clientWidth: null, clientHeight: [] }, { clientWidth: 5, clientHeight: 5e-324 }]) {
      liar.layout = { cssVisualViewport: v, cssLayoutViewport: v, layoutViewport: { clientWidth: 1e300 }, cssContentSize: { width: 1e18, height: 1e18 } };
      for (const query of ['cursor=1000000,1000000', 'full_page=1&max_edge=16&cursor=5,5', 'region=0,0,1000000,1000000'])
        assert.ok([200, 400].includes((await ask(rgb(64, 64), query)).status), `${JSON.stringify(v)} ${query}`);
    }
  });
});
