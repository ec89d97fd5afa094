// The test internet: DNS servers, web servers and echoes at every address, inside a network namespace that `world` made.
// usage: node internet.mjs DIR      (DIR holds tls.crt, tls.key; control.sock appears there)
// The control socket speaks HTTP: GET /stats, POST /reset.
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';

import { answer } from './dns.mjs';
import { ADDRESSES, DNS_ADDRESS, GROUPS, HELD, ROUTER_ADDRESS } from './names.mjs';
import { serveSite } from './sites.mjs';
import { startWire, wireCounts, wireReset } from './wire.mjs';
import { serveEcho } from './wsecho.mjs';

const dir = process.argv[2];
const stats = {};

function reset() {
  Object.assign(stats, { hosts: {}, connections: {}, dns: [], datagrams: 0, randoms: [], hellos: {} });
}
reset();

const hostOf = (text) => text.toLowerCase().replace(/:\d+$/, '') || '(none)';

/** Counts a request under the name it asked for, and under the name of the TLS handshake. */
function count(req) {
  const absolute = /^https?:\/\/([^/]*)/.exec(req.url)?.[1] ?? (req.method === 'CONNECT' ? req.url : undefined);
  const host = hostOf(String(absolute ?? req.headers[':authority'] ?? req.headers.host ?? ''));
  const entry = (stats.hosts[host] ??= { requests: 0, paths: [], sni: [] });
  entry.requests++;
  if (entry.paths.length < 200) entry.paths.push(`${req.method} ${req.url}`);
  const sni = req.socket.servername;
  if (sni && !entry.sni.includes(sni)) entry.sni.push(sni);
}

function onConnection(socket) {
  const key = `${socket.localAddress.replace(/^::ffff:/, '')}:${socket.localPort}`;
  stats.connections[key] = (stats.connections[key] ?? 0) + 1;
  socket.on('error', () => {});
}

/** DNS over HTTPS (RFC 8484). */
async function serveDoh(req, res) {
  const chunks = [];
  for await (const c of req) chunks.push(c);
  const message = req.method === 'POST' ? Buffer.concat(chunks) : Buffer.from(new URL(req.url, 'http://x').searchParams.get('dns') ?? '', 'base64url');
  res.writeHead(200, { 'content-type': 'application/dns-message', 'access-control-allow-origin': '*' });
  res.end(respond(message, 'https'));
}

const greeted = new WeakSet();

/** The client's random of each TLS handshake, which is in every line for a key log. */
function onKeylog(line, socket) {
  if (greeted.has(socket)) return;
  greeted.add(socket);
  stats.randoms.push(line.toString().split(' ')[1]);
}

/** A server that agrees to any other protocol, and then takes requests as if nothing had been. */
function serveAnything(socket) {
  socket.on('error', () => {});
  socket.on('data', (d) => {
    const host = /^Host: (.*)\r$/m.exec(d.toString('latin1'))?.[1];
    if (!host) return;
    count({ url: '/', method: 'GET', headers: { host }, socket });
    socket.end(`HTTP/1.1 200 OK\r\n\r\nWelcome to ${host}`);
  });
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n');
}

function attach(server, scheme) {
  server.on('connection', onConnection);
  server.on('keylog', onKeylog);
  server.on('request', async (req, res) => {
    count(req);
    if (req.url.startsWith('/dns-query')) await serveDoh(req, res);
    else serveSite(req, res, scheme);
  });
  server.on('connect', (req, socket) => {
    count(req);
    socket.end('HTTP/1.1 200 OK\r\n\r\n');
  });
  server.on('upgrade', (req, socket) => {
    count(req);
    if (req.headers.upgrade === 'websocket') serveEcho(req, socket);
    else serveAnything(socket);
  });
  server.on('clientError', (_e, socket) => socket.destroy());
  return server;
}

function listen(server, ...args) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(...args, resolve);
  });
}

function respond(message, from) {
  const { reply, question } = answer(message);
  if (question) stats.dns.push({ ...question, from });
  return reply;
}

/** DNS messages with their length in front, over TCP or TLS. */
function serveDnsStream(socket, from) {
  let pending = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const n = pending.readUInt16BE(0);
      const reply = respond(pending.subarray(2, 2 + n), from);
      pending = pending.subarray(2 + n);
      if (!reply) continue;
      const head = Buffer.alloc(2);
      head.writeUInt16BE(reply.length);
      socket.write(Buffer.concat([head, reply]));
    }
  });
}

/** UDP at every address, so that answers come from where the question went. */
function startUdp(port, addresses, onMessage) {
  return Promise.all(
    addresses.map((address) => {
      const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
      socket.on('message', (message, peer) => {
        const reply = onMessage(message);
        if (reply) socket.send(reply, peer.port, peer.address);
      });
      return new Promise((ok, no) => socket.once('error', no).bind(port, address, () => ok(socket)));
    }),
  );
}

async function startDns() {
  const servers = [DNS_ADDRESS, '8.8.8.8', '1.1.1.1'];
  await startUdp(53, servers, (message) => respond(message, 'udp'));
  for (const address of servers) await listen(net.createServer((socket) => serveDnsStream(socket, 'tcp')), 53, address);
  await listen(tls.createServer(keys, (socket) => serveDnsStream(socket, 'tls')), 853, '0.0.0.0');
}

/** Anything that reaches a UDP port other than DNS (QUIC, STUN, mDNS …) is counted, and echoed. */
async function startEchoes() {
  const echo = (message) => {
    stats.datagrams++;
    return message;
  };
  for (const port of [123, 443, 853, 3478, 9999]) await startUdp(port, [...ADDRESSES, ...HELD], echo);
  for (const port of [1900, 5353, 5355]) {
    for (const socket of await startUdp(port, ['0.0.0.0'], echo)) for (const group of GROUPS) socket.addMembership(group, ROUTER_ADDRESS);
  }
  for (const port of [22, 25, 3478, 5349, 9999]) await listen(net.createServer((s) => s.on('error', () => {}).pipe(s)).on('connection', onConnection), port, '0.0.0.0');
}

const keys = {
  key: fs.readFileSync(path.join(dir, 'tls.key')),
  cert: fs.readFileSync(path.join(dir, 'tls.crt')),
};
/** Counts what each ClientHello named, whether or not the handshake is finished. */
const counting = {
  ...keys,
  SNICallback: (name, done) => {
    stats.hellos[name.toLowerCase()] = (stats.hellos[name.toLowerCase()] ?? 0) + 1;
    done(null, context);
  },
};
const context = tls.createSecureContext(keys);

await startWire();
await startDns();
await startEchoes();
for (const port of [80, 8080]) await listen(attach(http.createServer(), 'http'), port, '0.0.0.0');
await listen(attach(https.createServer(counting), 'https'), 443, '0.0.0.0');
await listen(attach(http2.createSecureServer({ ...counting, allowHTTP1: true }), 'https'), 8443, '0.0.0.0');
for (const [port, server] of [[80, http.createServer()], [443, https.createServer(counting)]])
  await listen(attach(server, port === 80 ? 'http' : 'https'), { port, host: '::', ipv6Only: true });

const control = http.createServer(async (req, res) => {
  if (req.method === 'POST' && req.url === '/reset') {
    reset();
    await wireReset();
  }
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify({ ...stats, wire: await wireCounts() }));
});
await listen(control, path.join(dir, 'control.sock'));
console.log('ready');
