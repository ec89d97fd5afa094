// What arrives on the internet's end of the wire, packet by packet, whether or not anything listens: counted by nftables.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const RULES = `
table inet seen {
  set ports { type ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; counter; }
  set others { type ipv4_addr . inet_proto; flags dynamic; size 65535; counter; }
  set six { type ipv6_addr; flags dynamic; size 65535; counter; }
  chain count {
    type filter hook prerouting priority -450;
    iifname != "wire" return
    ip6 daddr { 2000::/3, 64:ff9b::/96 } add @six { ip6 daddr }
    meta nfproto != ipv4 return
    ip frag-off & 0x1fff != 0 add @others { ip daddr . ip protocol } return
    meta l4proto { 6, 17, 33, 132, 136 } add @ports { ip daddr . ip protocol . th dport } return
    add @others { ip daddr . ip protocol }
  }
}`;

// By number, as a machine may have no names for them.
const PROTOCOLS = { 1: 'icmp', 2: 'igmp', 4: 'ipip', 6: 'tcp', 17: 'udp', 33: 'dccp', 41: '6in4', 47: 'gre', 50: 'esp', 115: 'l2tp', 132: 'sctp', 136: 'udplite' };
const nft = async (...args) => (await run('nft', args)).stdout;

export const startWire = () => nft(RULES);
export const wireReset = () => nft('flush set inet seen ports; flush set inet seen others; flush set inet seen six');

/** "tcp 198.51.100.66:443" → packets; "icmp 198.51.100.66"; "ipv6 2001:db8::66". */
export async function wireCounts() {
  const counts = {};
  const table = JSON.parse(await nft('-j', '-p', 'list', 'table', 'inet', 'seen')).nftables;
  for (const listed of table.flatMap((x) => x.set ?? [])) {
    for (const { elem } of listed.elem ?? []) {
      const [addr, proto, port] = typeof elem.val === 'string' ? [elem.val] : elem.val.concat;
      counts[proto === undefined ? `ipv6 ${addr}` : `${PROTOCOLS[proto] ?? proto} ${addr}${port === undefined ? '' : `:${port}`}`] = elem.counter.packets;
    }
  }
  return counts;
}
