// The test internet: one DNS server and one web server per address, inside a network namespace that world.mjs made.
// usage: node internet.mjs DIR      (DIR holds tls.crt, tls.key; control.sock appears there)
// The control socket speaks HTTP: GET /stats, POST /reset.
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';

import { answer } from './dns.mjs';
import { DNS_ADDRESS, NAMES } from './names.mjs';
import { serveSite } from './sites.mjs';
import { serveEcho } from './wsecho.mjs';

const dir = process.argv[2];
const stats = { hosts: {}, connections: {}, dns: [], datagrams: 0, randoms: [] };

function reset() {
  stats.hosts = {};
  stats.connections = {};
  stats.dns = [];
  stats.datagrams = 0;
  stats.randoms = [];
}

/** Counts a request under the name it asked for, and under the name of the TLS handshake. */
function count(req) {
  const host = String(req.headers.host ?? '').toLowerCase().replace(/:\d+$/, '') || '(none)';
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

const greeted = new WeakSet();

/** The client's random of each TLS handshake, which is in every line for a key log. */
function onKeylog(line, socket) {
  if (greeted.has(socket)) return;
  greeted.add(socket);
  stats.randoms.push(line.toString().split(' ')[1]);
}

function attach(server, scheme) {
  server.on('connection', onConnection);
  server.on('keylog', onKeylog);
  server.on('request', (req, res) => {
    count(req);
    serveSite(req, res, scheme);
  });
  server.on('upgrade', (req, socket) => {
    count(req);
    serveEcho(req, socket);
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

function startDns() {
  const respond = (message, from) => {
    const { reply, question } = answer(message, NAMES);
    if (question) stats.dns.push({ ...question, from });
    return reply;
  };
  const udp = dgram.createSocket('udp4');
  udp.on('message', (message, peer) => {
    const reply = respond(message, 'udp');
    if (reply) udp.send(reply, peer.port, peer.address);
  });
  udp.bind(53, DNS_ADDRESS);
  const tcp = net.createServer((socket) => {
    let pending = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const n = pending.readUInt16BE(0);
        const reply = respond(pending.subarray(2, 2 + n), 'tcp');
        pending = pending.subarray(2 + n);
        if (!reply) continue;
        const head = Buffer.alloc(2);
        head.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([head, reply]));
      }
    });
  });
  return listen(tcp, 53, DNS_ADDRESS);
}

/** Anything that reaches a UDP port other than DNS (QUIC, say) is counted and never answered. */
function startUdpTrap(port) {
  const trap = dgram.createSocket('udp4');
  trap.on('message', () => stats.datagrams++);
  trap.bind(port, '0.0.0.0');
}

const tls = { key: fs.readFileSync(path.join(dir, 'tls.key')), cert: fs.readFileSync(path.join(dir, 'tls.crt')) };
await startDns();
startUdpTrap(443);
for (const port of [80, 8080]) await listen(attach(http.createServer(), 'http'), port, '0.0.0.0');
for (const port of [443, 8443]) await listen(attach(https.createServer(tls), 'https'), port, '0.0.0.0');

const control = http.createServer((req, res) => {
  if (req.method === 'POST' && req.url === '/reset') reset();
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify(stats));
});
await listen(control, path.join(dir, 'control.sock'));
console.log('ready');
