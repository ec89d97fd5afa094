// What bypass.test.mjs and its control share: the attempts, and who waits for them on the host itself.
import { execFileSync } from 'node:child_process';
import http from 'node:http';

import { HOST_ADDRESS } from './names.mjs';

export const FOLDER = new URL('../e2e/guest/', import.meta.url).pathname;
export const SCRIPT = `${FOLDER}attempts.py`;

/** What attempts.py tries: [{name, way, counted}]. */
export function attempts() {
  const lines = execFileSync('python3', [SCRIPT, '--list'], { encoding: 'utf8' }).trimEnd().split('\n');
  return lines.map((l) => l.split('\t')).map(([name, way, counted]) => ({ name, way, counted }));
}

/** Where a browser is sent by hand: address → what the internet, or the host, counts of it. */
export const NAVIGATIONS = {
  'https://evil.test/': 'host evil.test',
  'http://evilshop.test/': 'host evilshop.test',
  'http://shop.test:8080/': 'host shop.test',
  'http://10.9.9.9/': 'tcp 10.9.9.9:80',
  'http://169.254.169.254/latest/meta-data/': 'tcp 169.254.169.254:80',
  'http://lan.test/': 'host lan.test',
  'http://[2001:db8::66]/': 'ipv6 2001:db8::66',
  'http://203.0.113.2:9099/': 'listener host',
  'http://loop.test/': 'listener loopback',
};

/** Servers of the machine itself: {counts: {loopback, host}, close}. */
export async function startListeners() {
  const counts = { loopback: 0, host: 0 };
  const servers = [];
  for (const [address, port, what] of [['127.0.0.1', 80, 'loopback'], ['127.0.0.1', 443, 'loopback'], [HOST_ADDRESS, 80, 'host'], [HOST_ADDRESS, 443, 'host'], ['0.0.0.0', 9099, 'host']]) {
    const server = http.createServer((req, res) => res.end('<title>Welcome to the host</title>'));
    server.on('connection', () => counts[what]++);
    await new Promise((ok, no) => server.once('error', no).listen(port, address, ok));
    servers.push(server);
  }
  return { counts, close: () => servers.forEach((s) => (s.close(), s.closeAllConnections())) };
}
