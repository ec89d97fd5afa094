// Who is who in the test internet. Addresses are from the documentation ranges (RFC 5737): not private, never real; and
// those that no guest must reach (HELD), which this internet holds too, so that whoever gets there is counted.
export const DNS_ADDRESS = '203.0.113.53';
export const ROUTER_ADDRESS = '203.0.113.1'; // the internet's end of the wire
export const HOST_ADDRESS = '203.0.113.2'; // the end of the machine under test

/** Name → A records. `*.` is any name below. Everything else is NXDOMAIN. */
export const NAMES = {
  'shop.test': ['203.0.113.10'],
  'www.shop.test': ['203.0.113.10'],
  'bank.test': ['203.0.113.20'],
  'cdn.test': ['198.51.100.10'],
  'neighbour.test': ['198.51.100.10'], // another name on cdn.test's address
  'evil.test': ['198.51.100.66'],
  '*.evil.test': ['198.51.100.66'],
  'evilshop.test': ['198.51.100.67'],
  'shop.test.evil.test': ['198.51.100.66'],
  'xn--hop-ehd.test': ['198.51.100.67'], // ѕhop.test, its first letter Cyrillic
  'raw.test': ['198.51.100.30'], // nothing but this name's own TLS and HTTP may arrive there
  'late.test': ['198.51.100.77'],
  'deep.wild.test': ['198.51.100.31'],
  'deb.test': ['203.0.113.30'],
  'npm.test': ['203.0.113.31'],
  'dual.test': ['203.0.113.32'], // and AAAA
  'quick.test': ['203.0.113.33'], // a second's TTL
  'round.test': ['203.0.113.34', '203.0.113.35', '203.0.113.36'], // one after the other
  'svc.test': ['203.0.113.37'], // has an HTTPS record
  'inside.test': ['10.0.2.2'], // answers no public name should have
  'loop.test': ['127.0.0.1'],
  'metadata.test': ['169.254.169.254'],
  'lan.test': ['192.168.9.9'],
  'ten.test': ['10.9.9.9'],
  'twelve.test': ['172.16.9.9'],
  'carrier.test': ['100.64.9.9'],
  'sixtofour.test': ['192.88.99.9'],
  'benchmark.test': ['198.18.9.9'],
  'self.test': ['203.0.113.2'],
  'mixed.test': ['10.9.9.9', '203.0.113.38'],
  'rebind.test': ['203.0.113.39', '10.9.9.9'], // one after the other
};

/** Names that are another name's. */
export const ALIASES = { 'chain.test': 'link.test', 'link.test': 'metadata.test', 'alias.test': 'cdn.test' };
/** Seconds an answer may be kept, where it is not 30. */
export const TTLS = { 'quick.test': 1, 'round.test': 1, 'rebind.test': 1 };
/** Each answer has only the next of the addresses. */
export const ROTATING = ['round.test', 'rebind.test'];
export const AAAA = { 'dual.test': '2001:db8::32' };
/** HTTPS records say: also at evil.test's address, with keys for an Encrypted ClientHello. */
export const HTTPS = ['svc.test'];

/** What else answers, and must never be asked by a guest. */
export const HELD = ['8.8.8.8', '1.1.1.1', '10.0.2.2', '10.9.9.9', '172.16.9.9', '192.168.9.9', '100.64.9.9', '169.254.169.254', '192.88.99.9', '198.18.9.9', '240.9.9.9'];
export const HELD6 = ['2001:db8::66', '2001:db8::32', '64:ff9b::c633:6442', '2002:c633:6442::1', '2001:0:c633:6442::1'];
export const GROUPS = ['224.0.0.251', '224.0.0.252', '239.255.255.250'];

export const ADDRESSES = [...new Set(Object.values(NAMES).flat())].filter((a) => /^(203\.0\.113|198\.51\.100)\./.test(a) && a !== HOST_ADDRESS);
