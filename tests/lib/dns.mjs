// Just enough DNS (RFC 1035) to be the test internet's only server.
import { AAAA, ALIASES, HTTPS, NAMES, ROTATING, TTLS } from './names.mjs';

const TYPES = { 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 10: 'NULL', 12: 'PTR', 15: 'MX', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 64: 'SVCB', 65: 'HTTPS', 255: 'ANY' };
const turns = {}; // name → how often it was asked for

/** The question of a message: {name, type, end}, or null when it is not one whole question. */
export function readQuestion(message) {
  if (message.length < 17 || message.readUInt16BE(4) !== 1 || message[2] & 0x80) return null;
  const labels = [];
  let at = 12;
  while (at < message.length && message[at] !== 0) {
    const n = message[at];
    if (n > 63 || at + 1 + n > message.length) return null;
    labels.push(message.toString('latin1', at + 1, at + 1 + n));
    at += 1 + n;
  }
  if (at + 5 > message.length) return null;
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

const wire = (name) => Buffer.concat([...name.split('.').map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l)])), Buffer.from([0])]);

function record(name, type, data) {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(1, 2);
  head.writeUInt32BE(TTLS[name] ?? 30, 4);
  head.writeUInt16BE(data.length, 8);
  return Buffer.concat([wire(name), head, data]);
}

function ipv6(text) {
  const [left, right = ''] = text.split('::').map((half) => half.split(':').filter(Boolean).map((x) => parseInt(x, 16)));
  const words = [...left, ...Array(8 - left.length - right.length).fill(0), ...right];
  return Buffer.from(words.flatMap((w) => [w >> 8, w & 255]));
}

/** An HTTPS record (RFC 9460): priority 1, the name itself, an address hint, and keys that are none. */
function service() {
  const hint = Buffer.from([0, 4, 0, 4, 198, 51, 100, 66]);
  const ech = Buffer.concat([Buffer.from([0, 5, 0, 16]), Buffer.alloc(16, 7)]);
  return Buffer.concat([Buffer.from([0, 1, 0]), hint, ech]);
}

const known = (name) => NAMES[name] ?? NAMES[`*${name.slice(name.indexOf('.'))}`];

/** The records that answer a question; undefined: there is no such name. */
function records(name, type) {
  const found = [];
  for (; ALIASES[name]; name = ALIASES[name]) found.push(record(name, 5, wire(ALIASES[name])));
  const addresses = known(name);
  if (!addresses) return undefined;
  if (type === 1) {
    const turn = (turns[name] = (turns[name] ?? -1) + 1);
    const now = ROTATING.includes(name) ? [addresses[turn % addresses.length]] : addresses;
    found.push(...now.map((a) => record(name, 1, Buffer.from(a.split('.').map(Number)))));
  }
  if (type === 28 && AAAA[name]) found.push(record(name, 28, ipv6(AAAA[name])));
  if (type === 65 && HTTPS.includes(name)) found.push(record(name, 65, service()));
  if (type === 16) found.push(record(name, 16, Buffer.from('\x06answer', 'latin1')));
  return found;
}

/** The reply to a message (or null), and what was asked. */
export function answer(message) {
  const q = readQuestion(message);
  if (!q) return { reply: null, question: null };
  const answers = records(q.name, q.type);
  const head = Buffer.from(message.subarray(0, q.end));
  head[2] = 0x84 | (message[2] & 0x01);
  head[3] = 0x80 | (answers ? 0 : 3);
  head.writeUInt16BE(answers?.length ?? 0, 6);
  head.writeUInt16BE(0, 8);
  head.writeUInt16BE(0, 10);
  return { reply: Buffer.concat([head, ...(answers ?? [])]), question: { name: q.name, type: TYPES[q.type] ?? String(q.type) } };
}
