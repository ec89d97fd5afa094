// Who is who in the test internet. Addresses are from the documentation ranges (RFC 5737): not private, never real.
export const DNS_ADDRESS = '203.0.113.53';
export const ROUTER_ADDRESS = '203.0.113.1'; // the internet's end of the wire
export const HOST_ADDRESS = '203.0.113.2'; // the end of the machine under test

/** Name → A records. Everything else is NXDOMAIN. */
export const NAMES = {
  'shop.test': ['203.0.113.10'],
  'www.shop.test': ['203.0.113.10'],
  'bank.test': ['203.0.113.20'],
  'cdn.test': ['198.51.100.10'],
  'neighbour.test': ['198.51.100.10'], // another name on cdn.test's address
  'evil.test': ['198.51.100.66'],
  'evilshop.test': ['198.51.100.67'],
  'shop.test.evil.test': ['198.51.100.66'],
  'inside.test': ['10.0.2.2'], // answers no public name should have
  'loop.test': ['127.0.0.1'],
  'metadata.test': ['169.254.169.254'],
};

export const ADDRESSES = [...new Set(Object.values(NAMES).flat())].filter((a) => /^(203\.0\.113|198\.51\.100)\./.test(a));
