// Reading what the test internet counted: internet() gives it, these say how often something of it was seen.

/** How often `key` was seen: "host NAME" (a request), "tls NAME" (a ClientHello), "dns NAME", "dns-type TYPE", else packets on the wire. */
export function seen(stats, key) {
  const [kind, what] = [key.slice(0, key.indexOf(' ')), key.slice(key.indexOf(' ') + 1)];
  if (kind === 'host') return stats.hosts[what]?.requests ?? 0;
  if (kind === 'tls') return stats.hellos[what] ?? 0;
  if (kind === 'dns') return stats.dns.filter((q) => q.name === what).length;
  if (kind === 'dns-type') return stats.dns.filter((q) => q.type === what).length;
  return stats.wire[key] ?? 0;
}

/** Everything that was seen and is not of these names and packets. */
export function others(stats, { names, wire }) {
  const mine = (name) => names.includes(name);
  return [
    ...Object.keys(stats.hosts).filter((n) => !mine(n)).map((n) => `host ${n}`),
    ...Object.keys(stats.hellos).filter((n) => !mine(n)).map((n) => `tls ${n}`),
    ...stats.dns.filter((q) => !mine(q.name) || q.type !== 'A').map((q) => `dns ${q.name} ${q.type}`),
    ...Object.keys(stats.wire).filter((w) => !wire.includes(w)),
  ];
}
