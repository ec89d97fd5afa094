// Just enough DNS (RFC 1035) to be the test internet's only server.
const TYPES = { 1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 15: 'MX', 16: 'TXT', 28: 'AAAA', 64: 'SVCB', 65: 'HTTPS', 255: 'ANY' };

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

function record(address) {
  const r = Buffer.alloc(16);
  r.writeUInt16BE(0xc00c, 0); // the name of the question
  r.writeUInt16BE(1, 2);
  r.writeUInt16BE(1, 4);
  r.writeUInt32BE(30, 6);
  r.writeUInt16BE(4, 10);
  address.split('.').forEach((part, i) => (r[12 + i] = Number(part)));
  return r;
}

/** The reply to a message (or null), and what was asked. */
export function answer(message, names) {
  const q = readQuestion(message);
  if (!q) return { reply: null, question: null };
  const addresses = names[q.name];
  const answers = addresses && q.type === 1 ? addresses.map(record) : [];
  const head = Buffer.from(message.subarray(0, q.end));
  head[2] = 0x84 | (message[2] & 0x01);
  head[3] = 0x80 | (addresses ? 0 : 3);
  head.writeUInt16BE(answers.length, 6);
  head.writeUInt16BE(0, 8);
  head.writeUInt16BE(0, 10);
  return { reply: Buffer.concat([head, ...answers]), question: { name: q.name, type: TYPES[q.type] ?? String(q.type) } };
}
