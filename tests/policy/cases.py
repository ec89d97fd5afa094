"""What is tried from inside the guest, and what must come of it. Every case starts without rules, counters at zero."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

from world import (ALIAS, BIG, EVIL, GATE, GOOD, GUEST, MANY_ADDRS, OFFICE, PUBLIC_DNS, RESOLVER, SELF, WILD, sh)

CASES = []
FAST = 20.0  # seconds in which a refusal is there, on a machine that is busy too; whatever is only silent is waited for longer
TCP_PROBE = """
import socket, sys
s = socket.socket(); s.settimeout(float(sys.argv[3]) if sys.argv[3:] else 30)
try: s.connect((sys.argv[1], int(sys.argv[2])))
except OSError as e: print(type(e).__name__)
else: print("connected")
"""
UDP_PROBE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b"x"); s.recv(10); print("answered")
except OSError as e: print(type(e).__name__)
"""
PING = """
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); s.settimeout(30)
p = struct.pack(">BBHHH", 8, 0, 0, 7, 1) + b"x" * 8
c = sum(struct.unpack(">8H", p)); c = (c & 0xffff) + (c >> 16); c = ~(c + (c >> 16)) & 0xffff
s.sendto(p[:2] + struct.pack(">H", c) + p[4:], (sys.argv[1], 0))
try:
    while True:
        d = s.recv(200)
        if d[20] in (0, 3): print("type", d[20], d[21]); break
except OSError as e: print(type(e).__name__)
"""
RAW = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30); s.settimeout(float(sys.argv[3]))
for part in sys.argv[4:]:
    s.sendall(part.encode().decode("unicode_escape").encode("latin1"))
    try:
        d = s.recv(65536); print(repr(d), flush=True)
        if not d: break
    except OSError as e: print(type(e).__name__, flush=True); break
"""


def case(f):
    CASES.append((f.__name__, f))
    return f


class Case:
    def __init__(self, world, policy):
        self.world, self.policy = world, policy
        self.pinged = 0

    def reset(self):
        self.policy.allow()
        self.policy.upstream()
        self.policy.budget()
        self.world.counts(reset=True)
        self.pinged = self.world.pings()
        self.policy.events = []

    def guest(self, *args, timeout=240):
        return subprocess.run(self.world.guest.command(*args), capture_output=True, text=True, timeout=timeout)

    def python(self, code, *args, timeout=120):
        return self.guest("/usr/bin/python3", "-c", code, *map(str, args), timeout=timeout).stdout.strip()

    def curl(self, *args, timeout=65):
        """(exit status, HTTP status, body)"""
        r = self.guest("curl", "-sS", "-m", str(timeout - 5), "--cacert", f"{self.world.folder}/ca.crt", "-w", "\n%{http_code}", *args,
                       timeout=timeout)
        body, _, code = r.stdout.rpartition("\n")
        return r.returncode, int(code or 0), body

    def dig(self, *args):
        return self.guest("dig", "+tries=1", "+time=30", *args).stdout

    def addresses(self, name, *args):
        return sorted(self.dig("+short", name, "A", *args).split())

    def raw(self, addr, port, *parts, wait=30):
        return self.python(RAW, addr, port, wait, *parts)

    def reached(self, *keys):
        """What the test internet saw, apart from DNS and from these."""
        return {k: v for k, v in self.world.counts().items() if not k.startswith(("dns ", f"tcp {RESOLVER}:53", *keys))}

    def nothing_reached(self):
        seen = self.reached()
        assert not seen, seen
        assert self.world.pings() == self.pinged, "an echo request got out"

    def denied(self, name=None, enough=bool):
        """The refusals (of a name) that berth-policy has told of, once they are enough."""
        return self.events(lambda e: e.get("verdict") == "deny" and (name is None or e["name"] == name), enough)

    def denied_because(self, *reasons):
        """The refusals that berth-policy has told of, once all of these reasons are among them."""
        told = self.denied(enough=lambda some: {e["reason"] for e in some} >= set(reasons))
        assert {e["reason"] for e in told} >= set(reasons), told
        return told

    def events(self, wanted, enough=bool):
        found, deadline = [], time.time() + 60
        while True:
            found += [e for e in self.policy.take_events() if wanted(e)]
            if enough(found) or time.time() > deadline:
                return found
            time.sleep(0.1)


def reasons(*wanted):
    return lambda events: set(wanted) <= {e["reason"] for e in events}


def timed(f, *args):
    t = time.time()
    r = f(*args)
    return r, time.time() - t


@case
def hello_and_identity(t):
    p = t.policy
    ok = p.ask("hello")["ok"]
    assert ok["version"] == 1 and ok["pid"] == p.process.pid, ok
    for pid, caps in ((p.process.pid, "0000000000001000"), (p.parser_pid(), "0000000000000000")):
        status = dict(x.split(":\t", 1) for x in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in x)
        assert status["CapPrm"] == status["CapEff"] == caps, status
        assert status["CapInh"] == status["CapAmb"] == "0000000000000000" and status["NoNewPrivs"] == "1", status
        if len(open("/proc/self/uid_map").read().split()) == 3 and open("/proc/self/uid_map").read().split()[2] != "1":
            assert status["Uid"].split() == ["3"] * 4 and status["Gid"].split() == ["3"] * 4 and not status["Groups"].strip(), status
        if b"__asan_init" not in open(p.program, "rb").read():  # sanitizers and the filter do not go together
            assert status["Seccomp"] == "2", status
    assert os.readlink(f"/proc/{p.parser_pid()}/ns/net") == os.readlink("/proc/self/ns/net")
    assert os.readlink(f"/proc/{p.process.pid}/ns/net") == os.readlink(t.world.agent.path())


@case
def without_rules_nothing(t):
    for url in ("https://allowed.test/", "http://allowed.test/", f"http://{GOOD}/", f"https://{GOOD}/", "http://localhost.test/"):
        (r, code, _), seconds = timed(t.curl, url)
        assert r != 0 and code == 0 and seconds < FAST, (url, r, code, seconds)
    t.nothing_reached()
    assert not [k for k in t.world.counts() if k.startswith("dns ")], "a name was asked upstream"
    assert t.denied("allowed.test")


@case
def a_rule_allows_exactly_that(t):
    t.policy.allow("allowed.test")
    assert t.curl("https://allowed.test/")[:2] == (0, 200)
    assert t.curl("http://allowed.test/x")[2].startswith("allowed.test /x")
    assert t.curl("http://allowed.test:8080/")[0] != 0
    for name in ("evil.test", "shared.test", "www.allowed.test", "allowed.test.evil.test", "llowed.test"):
        assert t.curl(f"https://{name}/")[0] != 0, name
    assert not t.reached(f"tcp {GOOD}:443", f"tcp {GOOD}:80"), t.reached()
    seen = [k for k in t.world.counts() if k.startswith("dns ")]
    assert seen == ["dns allowed.test 1"], seen
    allowed = t.events(lambda e: e.get("verdict") == "allow")
    assert allowed and allowed[0]["rule"] == "allowed.test" and allowed[0]["bytes_down"] > 0, allowed


@case
def wildcards_and_ports(t):
    t.policy.allow("*.wild.test", "port.test:8080")
    assert t.curl("https://a.wild.test/")[1] == 200
    assert t.curl("https://deep.b.wild.test/")[1] == 200
    assert t.curl("http://port.test:8080/")[1] == 200
    for url in ("https://wild.test/", "https://evilwild.test/", "http://port.test/", "https://port.test/"):
        assert t.curl(url)[0] != 0, url
    assert not t.reached(f"tcp {WILD}:443", f"tcp {GOOD}:8080"), t.reached()


@case
def dns_answers(t):
    t.policy.allow("allowed.test", "alias.test", "many.test", "trunc.test", "empty.test", "nowhere.test", "round.test")
    assert t.addresses("ALLOWED.Test.") == [GOOD]
    assert t.addresses("alias.test") == [ALIAS]
    assert t.addresses("trunc.test") == [WILD]
    assert set(t.addresses("many.test")) <= set(MANY_ADDRS) and len(t.addresses("many.test")) == 16
    assert len(t.addresses("many.test", "+tcp")) == 16
    for kind in ("AAAA", "HTTPS", "SVCB"):
        out = t.dig("allowed.test", kind)
        assert "NOERROR" in out and "ANSWER: 0" in out, out
    for kind in ("TXT", "ANY", "NULL", "MX", "CNAME", "NS", "SRV"):
        assert "REFUSED" in t.dig("+notcp", "allowed.test", kind), kind
    for name in ("empty.test", "round.test"):
        assert "NOERROR" in t.dig(name) and not t.addresses(name), name
    assert "NXDOMAIN" in t.dig("nowhere.test")
    blocked = t.dig("evil.test")
    assert "NXDOMAIN" in blocked and "EDE: 15" in blocked, blocked
    assert "NXDOMAIN" in t.dig("-x", GOOD)
    assert "NXDOMAIN" in t.dig("_dmarc.evil.test", "TXT")
    asked = [k for k in t.world.counts() if k.startswith("dns ")]
    assert all(k.endswith(" 1") for k in asked) and not [k for k in asked if "evil" in k], asked
    t.nothing_reached()


@case
def dns_to_anybody_is_ours(t):
    t.policy.allow("allowed.test")
    assert t.addresses("allowed.test", "@" + PUBLIC_DNS) == [GOOD]
    assert t.addresses("allowed.test", "@" + PUBLIC_DNS, "+tcp") == [GOOD]
    assert t.addresses("allowed.test", "@1.2.3.4") == [GOOD]
    assert "NXDOMAIN" in t.dig("evil.test", "@" + PUBLIC_DNS)
    assert "NXDOMAIN" in t.dig("secret-data.evil.test", "TXT", "@" + PUBLIC_DNS, "+tcp")
    for port in (853, 5353):
        assert t.python(TCP_PROBE, PUBLIC_DNS, port) == "ConnectionRefusedError"
    t.nothing_reached()


@case
def dns_nonsense(t):
    t.policy.allow("allowed.test")
    code = """
import socket, os, random
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("10.0.2.2", 53))
random.seed(7)
good = bytes.fromhex("0001010000010000000000000761") + b"llowed\\4test\\0\\0\\1\\0\\1"
for i in range(3000):
    d = bytearray(good)
    for _ in range(random.randrange(6)): d[random.randrange(len(d))] = random.randrange(256)
    s.send(bytes(d[:random.randrange(len(d) + 1)]))
    if i % 50 == 0:
        c = socket.create_connection(("10.0.2.2", 53), 3); c.sendall(os.urandom(300)); c.close()
"""
    t.python(code)
    assert t.addresses("allowed.test") == [GOOD]
    assert t.policy.process.poll() is None


def answered_meanwhile(t):
    """A question was answered while another one waited for a server that is silent."""
    silent = threading.Thread(target=t.dig, args=("silent.test",))
    silent.start()
    while silent.is_alive() and not t.world.counts().get("dns silent.test 1"):
        time.sleep(0.02)
    assert t.addresses("allowed.test") == [GOOD]
    first = silent.is_alive()
    silent.join()
    t.world.counts(reset=True)
    return first


@case
def upstream_that_fails_lies_or_stays_silent(t):
    t.policy.allow("failing.test", "silent.test", "forged.test", "allowed.test")
    assert "SERVFAIL" in t.dig("failing.test")
    assert t.addresses("forged.test") == [GOOD]
    assert any(answered_meanwhile(t) for _ in range(5)), "a silent server held up another question"
    assert "SERVFAIL" in t.dig("silent.test")
    t.nothing_reached()


@case
def private_answers_are_removed(t):
    names = ("private.test", "loop.test", "inner.test", "meta.test", "carrier.test", "zero.test", "multi.test", "badalias.test")
    t.policy.allow(*names, "mixed.test")
    for name in names:
        assert "NXDOMAIN" in t.dig(name), name
        assert t.curl(f"http://{name}/")[0] != 0, name
    assert t.addresses("mixed.test") == [WILD]
    assert t.curl("https://mixed.test/")[1] == 200
    assert not t.reached(f"tcp {WILD}:443"), t.reached()
    private = reasons("all its addresses are private or reserved")
    assert private(t.denied("private.test", private))


@case
def private_networks_that_the_operator_names(t):
    t.policy.allow("office.test")
    assert t.addresses("office.test") == [OFFICE]
    assert t.curl("http://office.test/")[1] == 200


@case
def the_host_itself_is_no_server(t):
    server = socket.create_server((SELF, 80))
    server.settimeout(0.2)
    t.policy.allow("self.test")
    assert t.addresses("self.test") == [SELF]
    r, code, _ = t.curl("http://self.test/")
    assert (r, code) == (0, 502), (r, code)
    t.policy.allow(f"{SELF}:80/tcp")
    t.raw(SELF, 80, "GET / HTTP/1.0\\r\\n\\r\\n")
    try:
        server.accept()
        raise AssertionError("the host's own server was reached")
    except TimeoutError:
        pass
    server.close()


@case
def addresses_instead_of_names(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")  # pinned now
    for url, args in ((f"https://{GOOD}/", ["-k"]), (f"http://{EVIL}/", []), (f"https://{EVIL}/", ["-k"])):
        assert t.curl(*args, url)[1] in (0, 403), url
    assert t.curl(f"http://{GOOD}/")[1] == 403
    assert t.curl("--resolve", f"allowed.test:443:{EVIL}", "https://allowed.test/")[0] != 0
    t.nothing_reached()


@case
def tls_names(t):
    t.policy.allow("allowed.test", "a.wild.test")
    t.addresses("allowed.test")
    t.addresses("a.wild.test")
    for name in ("evil.test", "shared.test", "allowed.test.evil.test", "a.wild.test"):  # the last: allowed, but not there
        (r, _, _), seconds = timed(t.curl, "--resolve", f"{name}:443:{GOOD}", f"https://{name}/")
        assert r != 0 and seconds < FAST, (name, r, seconds)
    for args in (["-noservername"], ["-servername", "evil.test"], ["-servername", GOOD], ["-servername", "allowed.test."]):
        out = t.guest("openssl", "s_client", "-connect", f"{GOOD}:443", *args)
        assert "BEGIN CERTIFICATE" not in out.stdout, args
    t.nothing_reached()
    out = t.guest("openssl", "s_client", "-connect", f"{GOOD}:443", "-servername", "ALLOWED.test")
    assert "BEGIN CERTIFICATE" in out.stdout
    all_three = reasons("no rule allows this name and port", "this name was not resolved to this address", "TLS without a server name")
    events = t.denied(enough=all_three)
    assert all_three(events), events


@case
def tls_hello_in_pieces(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    code = """
import socket, ssl, sys, time
out, inn = ssl.MemoryBIO(), ssl.MemoryBIO()
c = ssl.create_default_context(cafile=sys.argv[2]).wrap_bio(inn, out, server_hostname=sys.argv[3])
s = socket.create_connection((sys.argv[1], 443), 30); s.settimeout(30); s.setsockopt(6, 1, 1)
try: c.do_handshake()
except ssl.SSLWantReadError: pass
hello = out.read()
if sys.argv[4] == "bytes":
    for i, b in enumerate(hello):
        s.send(bytes([b]))
        if i % 4 == 0: time.sleep(0.001)
else:  # one byte of the message to a record
    for b in hello[5:]: s.send(b"\\x16\\x03\\x01\\0\\1" + bytes([b]))
while True:
    try: c.do_handshake(); print("done"); break
    except ssl.SSLWantReadError:
        s.sendall(out.read() or b"")
        d = s.recv(65536)
        if not d: print("closed"); break
        inn.write(d)
"""
    ca = f"{t.world.folder}/ca.crt"
    assert t.python(code, GOOD, ca, "allowed.test", "bytes") == "done"
    assert "closed" in t.python(code, GOOD, ca, "evil.test", "bytes")
    assert "done" not in t.python(code, GOOD, ca, "evil.test", "records")
    assert not t.reached(f"tcp {GOOD}:443 tls allowed.test", f"tcp {GOOD}:443"), t.reached()
    assert f"tcp {GOOD}:443 tls evil.test" not in t.world.counts()


@case
def no_name_no_connection(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    for first in ("SSH-2.0-x\\r\\n\\r\\n", "\\x00\\x01\\x02", "\\x16\\x03\\x01\\xff\\xff\\x01", "\\x16\\x03\\x01\\x00\\x02\\x01\\x00", "\\x80\\x2e\\x01\\x03\\x01"):
        out = t.raw(GOOD, 443, first)
        assert out == "b''" or "403" in out or "Reset" in out, (first, out)
    out, seconds = timed(lambda: t.raw(GOOD, 80, "GET / HT", wait=60))
    assert seconds > 8 and "no name within 10 s" in out, (out, seconds)
    t.nothing_reached()


@case
def http_hosts(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    for host in ("evil.test", "shared.test", EVIL, "allowed.test.evil.test", "allowed.test:8080", "allowed.test@evil.test",
                 "evil.test,allowed.test", "", "[::1]"):
        r, code, body = t.curl("-H", f"Host: {host}" if host else "Host;", f"http://allowed.test/")
        assert code == 403 and "blocked" in body, (host, r, code, body)
    assert "berth policy tester allow evil.test\n" in t.curl("-H", "Host: evil.test", "http://allowed.test/")[2] + "\n"
    good = "GET / HTTP/1.1\\r\\nHost: allowed.test\\r\\n"
    for bad in ("GET / HTTP/1.1\\r\\n\\r\\n", "GET / HTTP/1.0\\r\\n\\r\\n", good + "Host: allowed.test\\r\\n\\r\\n",
                "GET http://evil.test/ HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n", "CONNECT evil.test:443 HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n",
                "GET / HTTP/1.1\\nHost: allowed.test\\n\\n", good + " folded\\r\\n\\r\\n", "GET / HTTP/1.1\\r\\nHost : allowed.test\\r\\n\\r\\n",
                good + "Content-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n", good + "Content-Length: 5\\r\\nContent-Length: 6\\r\\n\\r\\n",
                good + "Transfer-Encoding: gzip, chunked\\r\\n\\r\\n", good + "Transfer-Encoding: xchunked\\r\\n\\r\\n",
                "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n", "GET / HTTP/1.1\\r\\nHost: allowed\\x00.test\\r\\n\\r\\n"):
        out = t.raw(GOOD, 80, bad)
        assert "403" in out or out == "b''", (bad, out)
    t.nothing_reached()


@case
def every_request_of_a_connection(t):
    t.policy.allow("allowed.test", "a.wild.test", "quick.test")
    t.addresses("allowed.test")
    t.addresses("quick.test")  # the same address
    good = "GET /1 HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n"
    post = "POST /2 HTTP/1.1\\r\\nHost: allowed.test\\r\\nContent-Length: 5\\r\\n\\r\\nhello"
    chunked = "POST /3 HTTP/1.1\\r\\nHost: allowed.test\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n5;x=y\\r\\nhello\\r\\n1\\r\\nX\\r\\n0\\r\\nA: b\\r\\n\\r\\n"
    out = t.raw(GOOD, 80, good, post, chunked, good)
    assert out.count("200 OK") == 4 and "/2 5" in out and "/3 6" in out, out
    for evil in ("evil.test", "shared.test", "quick.test", "a.wild.test"):
        bad = f"GET /bad HTTP/1.1\\r\\nHost: {evil}\\r\\n\\r\\n"
        for before in (good, post, chunked):
            out = t.raw(GOOD, 80, before, bad)
            assert out.count("200 OK") == 1 and "bad" not in out, (evil, out)
        out = t.raw(GOOD, 80, good + bad)  # in one segment
        assert "bad" not in out, out
    smuggled = "GET /s HTTP/1.1\\r\\nHost: evil.test\\r\\n\\r\\n"
    for bad in ("5\\r\\nhelloX\\r\\n", "5\\nhello\\r\\n", "-1\\r\\n\\r\\n", "0x5\\r\\nhello\\r\\n", " 5\\r\\nhello\\r\\n", "fffffffffffffffff\\r\\n",
                "0\\r\\n\\r\\n" + smuggled):
        out = t.raw(GOOD, 80, chunked.split("5;x")[0] + bad)
        assert "/s" not in out, (bad, out)
    seen = t.world.counts()
    assert not [k for k in seen if "evil" in k or "shared" in k or "quick.test" in k and k.startswith("tcp") or "wild" in k and k.startswith("tcp")], seen


@case
def upgrades(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    head = "GET %s HTTP/1.1\\r\\nHost: allowed.test\\r\\nConnection: Upgrade\\r\\nUpgrade: %s\\r\\n\\r\\n"
    out = t.raw(GOOD, 80, head % ("/upgrade", "websocket"), "ping\\n", "pong\\n")
    assert "101" in out and "raw ping" in out and "raw pong" in out, out
    out = t.raw(GOOD, 80, head % ("/upgrade", "h2c"), "ping\\n")
    assert "raw ping" not in out, out
    again = "GET /2 HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n"
    out = t.raw(GOOD, 80, head % ("/no", "h2c"), again % "allowed.test")
    assert out.count("200 OK") == 2, out
    out = t.raw(GOOD, 80, head % ("/no", "websocket") + again % "evil.test")
    assert "evil" not in out, out
    assert not [k for k in t.world.counts() if "evil" in k]


@case
def other_protocols_fail_fast(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    for addr in (GOOD, EVIL, GATE, "1.2.3.4"):
        for port in (443, 3478, 5353):
            out, seconds = timed(t.python, UDP_PROBE, addr, port)
            assert out in ("ConnectionRefusedError", "PermissionError", "OSError") and seconds < FAST, (addr, port, out, seconds)
        out, seconds = timed(t.python, PING, addr)
        assert out.startswith("type 3 ") and seconds < FAST, (addr, out, seconds)
    for addr, port in ((GOOD, 22), (EVIL, 443), (EVIL, 80), (GOOD, 8080)):
        out, seconds = timed(t.python, TCP_PROBE, addr, port)
        assert out == "ConnectionRefusedError" and seconds < FAST, (addr, port, out)
    sctp = "import socket\ns = socket.socket(2, socket.SOCK_RAW, 132)\ns.sendto(b'x' * 40, ('%s', 0))" % GOOD
    t.python(sctp)
    t.nothing_reached()
    assert t.policy.ask("stats")["ok"]["dropped_packets"] > 10


@case
def refused_packets_are_listed(t):
    """Whatever the wall refuses is a decision in the log, with its address, port and protocol."""
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    wanted = {(GOOD, 443, "udp", "UDP never leaves"), ("1.2.3.4", 3478, "udp", "UDP never leaves"), (EVIL, 0, "icmp", "only TCP leaves"),
              (GOOD, 0, "ip 253", "only TCP leaves"), (GATE, 22, "tcp", "the host serves nothing there"),
              (EVIL, 4443, "tcp", "no name that is allowed was asked for at this address and port")}
    t.python(UDP_PROBE, GOOD, 443)
    t.python(UDP_PROBE, "1.2.3.4", 3478)
    t.python(PING, EVIL)
    t.python("import socket\ns = socket.socket(2, socket.SOCK_RAW, 253)\ns.sendto(b'x' * 40, ('%s', 0))" % GOOD)
    t.python(TCP_PROBE, GATE, 22)
    for _ in range(5):
        t.python(TCP_PROBE, EVIL, 4443)
    kind = lambda e: (e["address"], e["port"], e["protocol"], e["reason"])
    told = t.denied(enough=lambda some: {kind(e) for e in some} >= wanted and sum(e["count"] for e in some if e["address"] == EVIL and e["port"] == 4443) >= 5)
    assert {kind(e) for e in told} >= wanted, told
    assert sum(e["count"] for e in told if (e["address"], e["port"]) == (EVIL, 4443)) == 5, told
    assert t.addresses("allowed.test") == [GOOD], "the wall goes on"


@case
def a_scan_is_not_listed_whole(t):
    """A guest that fills the list of what was refused is refused all the same."""
    before = t.policy.ask("stats")["ok"]["dropped_packets"]
    t.python("""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(2000):
    try:
        s.sendto(b"x", ("1.2.%d.%d" % (i // 250, i % 250 + 1), 1000 + i))
    except OSError:
        pass
""")
    t.nothing_reached()
    told = t.events(lambda e: e["type"] == "error" or e.get("protocol") == "udp", enough=lambda some: any(e["type"] == "error" for e in some))
    assert any("not listed" in e.get("detail", "") for e in told), told
    assert len([e for e in told if e["type"] == "egress"]) <= 300, len(told)
    assert t.policy.ask("stats")["ok"]["dropped_packets"] - before >= 1900


@case
def the_agents_own_namespace(t):
    inner = subprocess.Popen(t.world.agent.command("/usr/bin/python3", "-c", """
import socket, threading
def serve(p):
    s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(("0.0.0.0", p)); s.listen()
    while True: s.accept()[0].sendall(b"got in")
for p in (22, 7900): threading.Thread(target=serve, args=(p,)).start()
"""))
    try:
        deadline = time.time() + 60
        while t.world.agent.sh("ss", "-Hltn").count(":22 ") + t.world.agent.sh("ss", "-Hltn").count(":7900 ") < 2:
            assert time.time() < deadline, "the servers do not listen"
            time.sleep(0.05)
        for port in (1, 22, 7900):
            assert t.python(TCP_PROBE, GATE, port) == "ConnectionRefusedError", port
        t.policy.allow("allowed.test")
        t.addresses("allowed.test")
        assert t.python(TCP_PROBE, GATE, 1) == "ConnectionRefusedError"
        out = t.python("import socket\ns = socket.socket(); s.settimeout(3)\ntry: s.connect(('192.0.2.1', 22)); print('in')\nexcept OSError as e: print(type(e).__name__)")
        assert out == "ConnectionRefusedError", out
    finally:
        inner.kill()
        inner.wait()


@case
def the_host_side_can_call_the_guest(t):
    code = """
import socket
s = socket.create_server(("0.0.0.0", %d)); print("listens", flush=True); c, _ = s.accept(); c.sendall(c.recv(10) * 2)
"""
    for port, works in ((700, True), (701, True), (702, False)):
        server = subprocess.Popen(t.world.guest.command("/usr/bin/python3", "-c", code % port), stdout=subprocess.PIPE, text=True)
        assert server.stdout.readline() == "listens\n"
        out = t.world.agent.sh("/usr/bin/python3", "-c", f"""
import socket
try:
    s = socket.create_connection(("{GUEST}", {port}), {30 if works else 2}); s.sendall(b"hey"); print(s.recv(10))
except OSError as e: print(type(e).__name__)""").strip()
        server.kill()
        server.wait()
        assert (out == "b'heyhey'") == works, (port, out)


@case
def spoofed_sources(t):
    t.policy.allow("allowed.test")
    t.world.guest.sh("ip", "addr", "add", "10.0.2.99/24", "dev", "eth0")
    try:
        out = t.guest("dig", "+tries=1", "+time=1", "-b", "10.0.2.99", "allowed.test", "@" + GATE).stdout
        assert "ANSWER: 1" not in out, out
        assert t.curl("--interface", "10.0.2.99", "-m", "2", f"http://{GOOD}/")[0] != 0
    finally:
        t.world.guest.sh("ip", "addr", "del", "10.0.2.99/24", "dev", "eth0")
    t.nothing_reached()


@case
def parallel_downloads(t):
    t.policy.allow("allowed.test")
    ends = []

    def one(url):
        r = t.guest("curl", "-sS", "-m", "220", "--cacert", f"{t.world.folder}/ca.crt", "-o", "/dev/null", "-w", "%{size_download}", url)
        ends.append((r.returncode, r.stdout))
    threads = [threading.Thread(target=one, args=(("https" if i % 2 else "http") + "://allowed.test/big",)) for i in range(20)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    assert ends == [(0, str(BIG))] * 20, ends


@case
def long_upload_and_half_close(t):
    t.policy.allow("allowed.test")
    r = t.guest("bash", "-c", f"head -c {BIG} /dev/zero | curl -sS -m 220 --cacert {t.world.folder}/ca.crt -T - https://allowed.test/up")
    assert f"/up {BIG}" in r.stdout, (r.stdout, r.stderr)
    code = """
import socket
s = socket.create_connection(("%s", 80), 30); s.settimeout(30)
s.sendall(b"GET /half HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n"); s.shutdown(1)
d = b""
while True:
    x = s.recv(1000)
    if not x: break
    d += x
print(d)
""" % GOOD
    t.addresses("allowed.test")
    assert "/half" in t.python(code)


@case
def dead_servers(t):
    t.policy.allow("quiet.test", "deadfirst.test")
    r, code, _ = t.curl("http://quiet.test/")
    assert (r, code) == (0, 502), (r, code)
    assert t.curl("http://deadfirst.test/")[1] == 200


@case
def start_page(t):
    t.policy.allow("start.berth.internal")
    (r, code, _), _ = timed(t.curl, "http://start.berth.internal/")
    assert (r, code) == (0, 502), (r, code)
    path = f"{t.world.folder}/state/run/service/start.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    os.chmod(path, 0o777)
    server.listen()

    def serve():
        c, _ = server.accept()
        head = c.recv(4000)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" if b"Host: start.berth.internal" in head else b"?")
        c.close()
    threading.Thread(target=serve, daemon=True).start()
    assert t.addresses("start.berth.internal") == ["198.18.0.1"]
    assert t.curl("http://start.berth.internal/")[1:] == (200, "hello")
    assert t.python(TCP_PROBE, "198.18.0.1", 443) == "ConnectionRefusedError"
    assert "NXDOMAIN" in t.dig("other.berth.internal")
    t.policy.allow("*.berth.internal", "allowed.test")
    assert "NXDOMAIN" in t.dig("other.berth.internal")
    t.policy.allow("allowed.test")
    assert "NXDOMAIN" in t.dig("start.berth.internal")
    server.close()
    os.unlink(path)
    assert not [k for k in t.world.counts() if "berth" in k]


@case
def a_stricter_policy_cuts(t):
    t.policy.allow("allowed.test", "later.test")
    code = """
import socket, sys
s = socket.create_connection((socket.gethostbyname(sys.argv[1]), 80), 30); s.settimeout(30)
s.sendall(b"GET /endless HTTP/1.1\\r\\nHost: " + sys.argv[1].encode() + b"\\r\\n\\r\\n")
try:
    while s.recv(1000): print("data", flush=True)
    print("closed", flush=True)
except OSError as e: print(type(e).__name__, flush=True)
"""
    runs = {n: subprocess.Popen(t.world.guest.command("/usr/bin/python3", "-c", code, n), stdout=subprocess.PIPE, text=True)
            for n in ("allowed.test", "later.test")}
    for r in runs.values():
        assert r.stdout.readline() == "data\n"
    t.policy.allow("later.test")
    out = runs["allowed.test"].stdout.read()
    assert out.endswith("ConnectionResetError\n"), out
    for _ in range(5):
        assert runs["later.test"].stdout.readline() == "data\n"
    runs["later.test"].kill()
    pins = t.world.agent.sh("nft", "list", "set", "inet", "berth", "pins")
    assert GOOD not in pins and WILD in pins, pins
    assert t.python(TCP_PROBE, GOOD, 80) == "ConnectionRefusedError"
    assert "NXDOMAIN" in t.dig("allowed.test")
    changed = reasons("the rules have changed")
    assert changed(t.denied("allowed.test", changed))


@case
def ports_taken_away(t):
    t.policy.allow("port.test:80,8080")
    assert t.curl("http://port.test:8080/")[1] == 200
    t.policy.allow("port.test:80")
    assert t.python(TCP_PROBE, GOOD, 8080) == "ConnectionRefusedError"
    assert t.curl("http://port.test/")[1] == 200


@case
def pins_before_answers(t):
    """A client that connects in the very moment it has its answer must never be refused."""
    t.policy.allow("quick.test", "*.wild.test", "many.test")
    code = """
import socket, sys
bad = 0
for i in range(150):
    a = socket.gethostbyname("quick.test")
    try: socket.create_connection((a, 80), 30).close()
    except OSError: bad += 1
print(bad)
"""
    for _ in range(2):
        assert t.python(code) == "0"
        t.policy.allow("*.wild.test")
        t.policy.allow("quick.test", "*.wild.test", "many.test")


@case
def short_ttls(t):
    t.policy.allow("short.test")
    out = t.dig("+noall", "+answer", "short.test")
    assert 0 <= int(out.split()[1]) <= 2, out
    time.sleep(2.5)
    assert t.curl("http://short.test/")[1] == 200
    # A browser keeps an address for a minute whatever its TTL: each answer must leave the pin as long to live, and 10 s more.
    time.sleep(5)
    left, seconds = timed(lambda: (t.dig("short.test"), pin_lives(t, GOOD, 80))[1])
    assert left + seconds >= 69, (left, seconds)


def pin_lives(t, addr, port):
    """How many seconds a pin has left."""
    listed = json.loads(t.world.agent.sh("nft", "-j", "list", "set", "inet", "berth", "pins"))
    elements = next(o["set"]["elem"] for o in listed["nftables"] if "set" in o)
    return next(e["elem"]["expires"] for e in elements if e["elem"]["val"]["concat"] == [addr, port])


@case
def wrong_rules_change_nothing(t):
    t.policy.allow("allowed.test")
    for rules in (["*"], ["evil.test", "1.2.3.4"], ["deny *"], ["a b"], ["10.0.0.0/8:53/tcp"], ["127.0.0.1:80/tcp"], ["x" * 400], [1], "evil.test", None):
        msg = t.policy.ask("policy.set", rules=rules, mode="enforce")
        assert msg.get("error", {}).get("status") == 400, (rules, msg)
    assert t.policy.ask("policy.set", rules=["evil.test"], mode="open")["error"]["status"] == 400
    assert t.policy.ask("policy.set", rules=["evil.test"], surprise=1)["error"]["status"] == 400
    assert t.policy.ask("policy.set", rules=[f"n{i}.test" for i in range(10001)])["error"]["status"] == 400
    assert t.policy.ask("open.everything")["error"]["status"] == 400
    assert t.curl("https://allowed.test/")[1] == 200
    assert t.curl("https://evil.test/")[0] != 0


@case
def the_control_channel_is_replaced(t):
    t.policy.allow("allowed.test")
    old = t.policy.sock
    t.policy.connect()
    assert t.policy.ask("hello")["ok"]
    old.settimeout(60)
    while (d := old.recv(65536)):
        pass
    assert d == b""
    assert t.curl("https://allowed.test/")[1] == 200
    t.policy.sock.close()
    assert t.curl("https://allowed.test/")[1] == 200, "without berthd it goes on with what is in force"
    t.policy.connect()
    t.policy.sock.sendall(b"\xff\xff\xff\xff rubbish")
    t.policy.connect()
    assert t.policy.ask("hello")["ok"]


@case
def denials_are_counted_not_repeated(t):
    t.policy.allow("allowed.test")
    code = """
import socket
s = socket.socket(2, 2); s.connect(("10.0.2.2", 53))
for i in range(400):
    s.send(b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4foul\\4test\\0\\0\\1\\0\\1"); s.recv(500)
"""
    t.python(code)
    events = t.denied("foul.test", lambda found: sum(e["count"] for e in found) >= 400)
    assert sum(e["count"] for e in events) == 400 and len(events) < 100, [e["count"] for e in events]
    assert events[0]["protocol"] == "dns" and events[0]["reason"] == "no rule allows this name" and events[0]["time"].endswith("Z")
    flood = code.replace("\\4foul\\4test", "\\5%05x\\4test").replace('\\0\\1")', '\\0\\1" % i)')
    assert "% i)" in flood
    _, seconds = timed(t.python, flood.replace("range(400)", "range(2000)"))
    assert len(t.policy.take_events(3)) < 128 * (seconds + 5)  # 128 in each second
    assert t.policy.ask("stats")["ok"]["dns_denied"] > 2000


@case
def many_connections(t):
    t.policy.allow("allowed.test")
    t.addresses("allowed.test")
    code = """
import socket, time
all, begun = [], time.time()
for i in range(700):
    s = socket.socket(); s.settimeout(30)
    try: s.connect(("%s", 80)); all.append(s)
    except OSError: pass
open_ = 0
for s in all:
    s.settimeout(0.01)
    try: open_ += s.recv(1) != b""
    except TimeoutError: open_ += 1
    except OSError: pass
print(open_, time.time() - begun)
""" % GOOD
    n, seconds = (float(x) for x in t.python(code, timeout=240).split())
    assert 300 <= n and (n <= 512 or seconds > 10), (n, seconds)  # who says nothing for 10 s makes room for the next
    assert t.curl("http://allowed.test/")[1] == 200
    too_many = reasons("too many connections at a time")
    assert too_many(t.denied(enough=too_many))


def killed(t, pid):
    t.policy.allow("allowed.test")
    assert t.curl("https://allowed.test/")[1] == 200
    running = subprocess.Popen(t.world.guest.command("curl", "-sS", "-N", "-m", "60", "http://allowed.test/endless"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert running.stdout.read(5) == b"more\n"
    parser = t.policy.parser_pid()
    os.kill(pid(), signal.SIGKILL)
    assert t.policy.process.wait(60) != 0
    deadline = time.time() + 60
    while os.path.exists(f"/proc/{parser}") and open(f"/proc/{parser}/stat").read().rsplit(") ")[1][0] != "Z":
        assert time.time() < deadline, "the parser outlived the wall"
        time.sleep(0.02)
    running.stdout.read()
    running.wait(60)
    t.world.counts(reset=True)
    for url in ("https://allowed.test/", f"http://{GOOD}/", f"http://{EVIL}/"):
        (r, _, _), _ = timed(t.curl, "--resolve", f"allowed.test:443:{GOOD}", url)
        assert r != 0, url
    assert t.python(UDP_PROBE, GOOD, 443) != "answered"
    t.nothing_reached()
    t.policy.start()
    assert t.policy.ask("hello")["ok"]
    assert t.curl("https://allowed.test/")[0] != 0, "open before its rules"
    t.policy.allow("allowed.test")
    assert t.curl("https://allowed.test/")[1] == 200


@case
def killed_parser(t):
    killed(t, t.policy.parser_pid)


@case
def killed_wall(t):
    killed(t, lambda: t.policy.process.pid)


@case
def killed_parser_stops_the_wall_before_anything_else(t):
    """SIGTERM to the process that berthd knows ends both."""
    parser = t.policy.parser_pid()
    t.policy.process.terminate()
    t.policy.process.wait(60)
    deadline = time.time() + 60
    while os.path.exists(f"/proc/{parser}") and " Z " not in open(f"/proc/{parser}/stat").read():
        assert time.time() < deadline, "the parser outlived the wall"
        time.sleep(0.02)
    t.policy.start()
    assert t.policy.ask("hello")["ok"]


@case
def the_ruleset_is_what_was_meant(t):
    rules = t.world.agent.sh("nft", "list", "ruleset")
    for line in ("policy drop;", "redirect to :53", "redirect to :1", "ct status dnat accept", "reject with tcp reset"):
        assert line in rules, line
    assert rules.count("table ") == 1, rules
    assert sh("nft", "list", "ruleset").strip() == "", "something was left in the host's namespace"
