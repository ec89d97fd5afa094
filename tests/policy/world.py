"""A test internet for berth-policy: four network namespaces on one machine, all servers in Python's own library.

    guest (10.0.2.15) --veth--> agent (tap0, 10.0.2.2)   |   host --veth--> internet (every server)

The agent's namespace has no other way out. berth-policy runs in the host's, with the agent's as a descriptor.
"""
import ctypes
import fcntl
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

from liars import Question, Raw, liar, record, wire

CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
GUEST, GATE = "10.0.2.15", "10.0.2.2"
GOOD, EVIL, WILD, ALIAS, QUIET, MANY = ("203.0.113.10", "203.0.113.66", "203.0.113.20", "198.51.100.7",
                                        "198.51.100.8", "198.51.100.100")
RESOLVER, PUBLIC_DNS, SELF = "192.0.2.53", "8.8.8.8", "203.0.113.200"
PROXY, NOBODY = "172.20.0.8", "192.0.2.99"  # NOBODY has this address: packets to it are lost
OFFICE = "10.77.0.5"
MANY_ADDRS = [f"198.51.100.{n}" for n in range(100, 140)]
BIG = 10_000_000

# Name -> (A records or a name for an alias, TTL)
ZONE = {
    "allowed.test": ([GOOD], 300), "shared.test": ([GOOD], 300), "evil.test": ([EVIL], 300),
    "wild.test": ([WILD], 300), "a.wild.test": ([WILD], 300), "deep.b.wild.test": ([WILD], 300),
    "evilwild.test": ([EVIL], 300), "allowed.test.evil.test": ([EVIL], 300),
    "private.test": (["10.1.2.3"], 300), "loop.test": (["127.0.0.1"], 300), "inner.test": ([GATE], 300),
    "meta.test": (["169.254.169.254"], 300), "carrier.test": (["100.64.1.1"], 300), "zero.test": (["0.0.0.0"], 300),
    "multi.test": (["224.0.0.1"], 300), "mixed.test": (["127.0.0.1", WILD, "10.1.2.3"], 300),
    "alias.test": ("www.cdn.test", 300), "www.cdn.test": ([ALIAS], 20), "badalias.test": ("loop.test", 300),
    "round.test": ("round2.test", 300), "round2.test": ("round.test", 300),
    "office.test": ([OFFICE], 300), "self.test": ([SELF], 300), "quick.test": ([GOOD], 0),
    "trunc.test": ([WILD], 300), "many.test": (MANY_ADDRS, 300), "quiet.test": ([QUIET], 300),
    "deadfirst.test": ([QUIET, GOOD], 300), "failing.test": ([], 0), "silent.test": ([], 0), "proxy.test": ([PROXY], 300),
    "empty.test": ([], 300), "port.test": ([GOOD], 300), "later.test": ([WILD], 300), "fresh.test": ([WILD], 300), "short.test": ([GOOD], 2),
    **{"a." * n + "wild.test": ([WILD], 300) for n in (2, 20)}, "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".wild.test": ([WILD], 300),
}
# For the model (model.py): many names on few addresses.
MODEL_NAMES = ["x.m.test", "y.m.test"] + [f"{a}.{b}.m.test" for a in "abc" for b in "xy"] + ["d.c.x.m.test"]
ZONE |= {n: ([f"198.51.100.{200 + i % 4}"], 300) for i, n in enumerate(MODEL_NAMES)}
ADDRESSES = sorted({a for v, _ in ZONE.values() if isinstance(v, list) for a in v
                    if a.startswith(("203.0.113.", "198.51.100.")) and a not in (SELF, QUIET)} | {PUBLIC_DNS, OFFICE})


def sh(*args, **kw):
    return subprocess.run(args, check=True, capture_output=True, text=True, **kw).stdout


def unshare(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


class Namespace:
    """A process that holds a network (and a mount) namespace open."""

    def __init__(self, run=None):
        ready, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                ctypes.CDLL(None).prctl(1, signal.SIGKILL)
                unshare(CLONE_NEWNET | CLONE_NEWNS)
                os.write(tell, b"x")
                if run:
                    run()
                while True:
                    signal.pause()
            except BaseException as e:  # noqa: the child must not go on as its parent
                print("# namespace:", repr(e), flush=True)
            os._exit(1)
        os.read(ready, 1)
        os.close(ready)
        os.close(tell)

    def path(self):
        return f"/proc/{self.pid}/ns/net"

    def command(self, *args):
        return ["nsenter", "--net=" + self.path(), f"--mount=/proc/{self.pid}/ns/mnt", *args]

    def sh(self, *args):
        return sh(*self.command(*args))

    def end(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


class Counts:
    """What reached the test internet; asked for over a unix socket."""

    def __init__(self):
        self.lock, self.seen = threading.Lock(), {}

    def add(self, key):
        with self.lock:
            self.seen[key] = self.seen.get(key, 0) + 1

    def serve(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen()
        while True:
            c, _ = s.accept()
            with self.lock:
                c.sendall(json.dumps(self.seen).encode())
                if c.recv(1) == b"r":
                    self.seen = {}
            c.close()


def name_at(data, i):
    labels = []
    while data[i]:
        labels.append(data[i + 1:i + 1 + data[i]].decode("latin1"))
        i += 1 + data[i]
    return ".".join(labels), i + 1


def dns_answer(counts, data, tcp):
    """The packets to answer with (liars.py: or when, from where, and the packet)."""
    ident, (asked, end) = data[:2], name_at(data, 12)
    name, kind = asked.lower(), struct.unpack(">H", data[end:end + 2])[0]
    counts.add(f"dns {name} {kind}")
    question = data[12:end + 4]

    def packet(flags, answers=b"", n=0, q=question):
        return ident + struct.pack(">HHHHH", 0x8180 | flags, 1, n, 0, 0) + q + answers

    if name == "failing.test":
        return [packet(2)]
    if name == "silent.test":
        return []
    if kind == 1 and liar(name):
        return liar(name)(Question(ident, asked, question, tcp))
    if name not in ZONE:
        return [packet(3)]
    if kind != 1:
        return [packet(0)]
    if name == "trunc.test" and not tcp:
        return [packet(0x200)]
    answers, n, owner = b"", 0, asked
    for _ in range(4):
        records, ttl = ZONE[owner.lower()]
        if isinstance(records, list):
            answers += b"".join(record(owner, a, ttl) for a in records)
            n += len(records)
            break
        answers += wire(owner) + struct.pack(">HHIH", 5, 1, ttl, len(wire(records))) + wire(records)
        owner, n = records, n + 1
    good = packet(0, answers, n)
    return [packet(0x200) if len(good) > 1232 and not tcp else good]


def send_datagram(s, source, packet, peer):
    if source is None:
        s.sendto(packet, peer)
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(source)
        other.sendto(packet, peer)


def dns_udp(counts, addr):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind((addr, 53))
    while True:
        data, peer = s.recvfrom(4096)
        if addr == PUBLIC_DNS:
            counts.add("public dns")
        for p in dns_answer(counts, data, False):
            seconds, source, packet = p if isinstance(p, tuple) else (0, None, p)
            if seconds:
                threading.Timer(seconds, send_datagram, (s, source, packet, peer)).start()
            else:
                send_datagram(s, source, packet, peer)


def dns_tcp(counts, c, key):
    with c:
        size = struct.unpack(">H", c.recv(2, socket.MSG_WAITALL))[0]
        for p in dns_answer(counts, c.recv(size, socket.MSG_WAITALL), True):
            p = p[2] if isinstance(p, tuple) else p
            c.sendall(p if isinstance(p, Raw) else struct.pack(">H", len(p)) + p)


def read_head(f):
    head = []
    while True:
        line = f.readline(65536)
        if line in (b"\r\n", b"\n", b""):
            return head
        head.append(line.decode("latin1").strip())


def header(head, name):
    return next((h.split(":", 1)[1].strip() for h in head[1:] if h.lower().startswith(name + ":")), "")


def http(counts, c, key):
    """HTTP/1.1 with keep-alive, spoken to whoever comes; every request is counted with its Host."""
    with c, c.makefile("rwb") as f:
        while True:
            head = read_head(f)
            if not head:
                return
            host, path = header(head, "host"), head[0].split()[1]
            counts.add(f"{key} {host}")
            body = b""
            if header(head, "transfer-encoding") == "chunked":
                while (size := int(f.readline().split(b";")[0], 16)):
                    body += f.read(size)
                    f.readline()
                while f.readline().strip():
                    pass
            elif header(head, "content-length"):
                body = f.read(int(header(head, "content-length")))
            if "upgrade" in header(head, "connection").lower() and path == "/upgrade":
                f.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
                f.flush()
                while (data := f.readline()):
                    f.write(b"raw " + data)
                    f.flush()
                return
            if path == "/endless":
                f.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                while True:
                    f.write(b"more\n")
                    f.flush()
                    time.sleep(0.1)
            reply = os.urandom(16) * (BIG // 16) if path == "/big" else f"{host} {path} {len(body)}\n".encode()
            f.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply))
            f.write(reply)
            f.flush()


def https(context):
    def serve(counts, c, key):
        raw = c
        c = context.wrap_socket(raw, server_side=True)
        counts.add(f"{key} tls {getattr(c, 'berth_name', None)}")
        http(counts, c, key)
    return serve


def tls_context(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")

    def on_name(sock, name, _):
        sock.berth_name = name
    context.sni_callback = on_name
    return context


def tcp_server(counts, addr, port, serve):
    def one(c, key):
        try:
            serve(counts, c, key)
        except (OSError, ValueError, IndexError, struct.error):
            c.close()
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((addr, port))
    s.listen(256)
    while True:
        c, _ = s.accept()
        here = c.getsockname()
        key = f"tcp {here[0]}:{here[1]}"
        counts.add(key)
        threading.Thread(target=one, args=(c, key), daemon=True).start()


def udp_server(counts, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    while True:
        data, peer = s.recvfrom(4096)
        counts.add(f"udp {port}")
        s.sendto(data, peer)


def splice(a, b):
    """Both ways until both have ended."""
    def one(x, y):
        try:
            while (d := x.recv(65536)):
                y.sendall(d)
            y.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    t = threading.Thread(target=one, args=(a, b), daemon=True)
    t.start()
    one(b, a)
    t.join()


def proxy_connect(counts, host, port):
    counts.add(f"proxy to {host}:{port}")
    addr = ZONE[host][0][0] if host in ZONE else host
    return socket.create_connection((addr, port), 5)


def http_proxy(login):
    def serve(counts, c, key):
        with c, c.makefile("rwb") as f:
            head = read_head(f)
            counts.add(f"{key} {head[0].split()[0]} {header(head, 'proxy-authorization')}")
            if login and header(head, "proxy-authorization") != "Basic " + login:
                f.write(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
                return
            host, port = head[0].split()[1].rsplit(":", 1)
            if port == "8080":
                f.write(b"HTTP/1.1 403 Not that port\r\nContent-Length: 0\r\n\r\n")
                return
            with proxy_connect(counts, host, int(port)) as there:
                f.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                f.flush()
                splice(c, there)
    return serve


def socks_proxy(login):
    def serve(counts, c, key):
        def read(n):
            return c.recv(n, socket.MSG_WAITALL)
        with c:
            methods = read(read(2)[1])
            method = 2 if login else 0
            if method not in methods:
                c.sendall(b"\5\xff")
                return
            c.sendall(bytes([5, method]))
            if login:
                user = read(read(2)[1])
                password = read(read(1)[0])
                counts.add(f"{key} login {user.decode()}:{password.decode()}")
                if user + b":" + password != login:
                    c.sendall(b"\1\1")
                    return
                c.sendall(b"\1\0")
            kind = read(4)[3]
            host = socket.inet_ntoa(read(4)) if kind == 1 else read(read(1)[0]).decode()
            port = struct.unpack(">H", read(2))[0]
            if port == 8080:
                c.sendall(b"\5\2\0\1\0\0\0\0\0\0")
                return
            with proxy_connect(counts, host, port) as there:
                c.sendall(b"\5\0\0\1\0\0\0\0\0\0")
                splice(c, there)
    return serve


def say_and_wait(what):
    def serve(counts, c, key):
        with c:
            c.sendall(what)
            while c.recv(4096):
                pass
    return serve


def banner(counts, c, key):
    with c:
        c.sendall(b"SSH-2.0-test\r\n")
        c.recv(1)


def start(*jobs):
    for f, *args in jobs:
        threading.Thread(target=f, args=args, daemon=True).start()


def serve_internet(folder):
    counts, https_serve = Counts(), https(tls_context(folder))
    for p in ("lo",):
        sh("ip", "link", "set", p, "up")
    for a in ADDRESSES + [RESOLVER, PROXY]:
        sh("ip", "addr", "add", a + "/32", "dev", "lo")
    start((dns_udp, counts, RESOLVER), (dns_udp, counts, PUBLIC_DNS), (tcp_server, counts, "0.0.0.0", 53, dns_tcp),
          (tcp_server, counts, "0.0.0.0", 80, http), (tcp_server, counts, "0.0.0.0", 8080, http),
          (tcp_server, counts, "0.0.0.0", 443, https_serve), (tcp_server, counts, "0.0.0.0", 853, banner),
          (tcp_server, counts, "0.0.0.0", 22, banner), (udp_server, counts, 443), (udp_server, counts, 5353),
          (udp_server, counts, 3478),
          (tcp_server, counts, PROXY, 3128, http_proxy(None)), (tcp_server, counts, PROXY, 3129, http_proxy("am9lOnMzY3JldDpw")),
          (tcp_server, counts, PROXY, 1080, socks_proxy(None)), (tcp_server, counts, PROXY, 1081, socks_proxy(b"joe:s3cret:p")),
          (tcp_server, counts, PROXY, 3130, say_and_wait(b"220 mail.test ESMTP\r\n\r\n")),
          (tcp_server, counts, PROXY, 3131, say_and_wait(b"")), (tcp_server, counts, PROXY, 3132, lambda _, c, key: c.close()))
    counts.serve(f"{folder}/counts.sock")


def make_certificates(folder):
    names = ",".join("DNS:" + n for n in ZONE)
    ssl_run = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    sh(*ssl_run, "-subj", "/CN=test CA", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.crt")
    sh(*ssl_run, "-subj", "/CN=sites", "-addext", "subjectAltName=" + names, "-CA", f"{folder}/ca.crt", "-CAkey",
       f"{folder}/ca.key", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt")


def bind_resolv_conf(folder, server):
    path = f"{folder}/resolv.{server}"
    with open(path, "w") as f:
        f.write(f"nameserver {server}\n")
    sh("mount", "--bind", path, os.path.realpath("/etc/resolv.conf"))


class World:
    """Everything but berth-policy itself. The process that makes it must be alone in its namespaces."""

    def __init__(self, folder):
        self.folder = folder
        sh("mount", "--make-rprivate", "/")
        make_certificates(folder)
        self.internet = Namespace(lambda: self.when_wired(lambda: serve_internet(folder)))
        self.agent = Namespace()
        self.guest = Namespace(lambda: bind_resolv_conf(folder, GATE))
        bind_resolv_conf(folder, RESOLVER)
        self.wire_internet()
        self.wire_agent()
        os.makedirs(f"{folder}/state/run/service")
        open(f"{folder}/wired", "w").close()
        deadline = time.time() + 60
        while not self.up():
            if time.time() > deadline:
                raise RuntimeError("the test internet does not come up")
            time.sleep(0.05)

    def when_wired(self, then):
        while not os.path.exists(f"{self.folder}/wired"):
            time.sleep(0.02)
        then()

    def up(self):
        try:
            self.counts()
            socket.create_connection((GOOD, 443), 1).close()
            socket.create_connection((RESOLVER, 53), 1).close()
            self.counts(reset=True)
            return True
        except OSError:
            return False

    def wire_internet(self):
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "addr", "add", SELF + "/32", "dev", "lo")
        sh("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "wire", "netns", str(self.internet.pid))
        sh("ip", "addr", "add", "192.0.2.1/30", "dev", "uplink")
        sh("ip", "link", "set", "uplink", "up")
        self.internet.sh("ip", "addr", "add", "192.0.2.2/30", "dev", "wire")
        self.internet.sh("ip", "link", "set", "wire", "up")
        sh("ip", "route", "add", "default", "via", "192.0.2.2")

    def wire_agent(self):
        a, g = self.agent, self.guest
        sh("ip", "link", "add", "cross", "type", "veth", "peer", "name", "eth0", "netns", str(g.pid))
        sh("ip", "link", "set", "cross", "netns", str(a.pid), "name", "tap0")
        a.sh("ip", "link", "set", "lo", "up")
        a.sh("ip", "addr", "add", GATE + "/24", "dev", "tap0")
        a.sh("ip", "link", "set", "tap0", "up")
        a.sh("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
        g.sh("ip", "link", "set", "lo", "up")
        g.sh("ip", "addr", "add", GUEST + "/24", "dev", "eth0")
        g.sh("ip", "link", "set", "eth0", "up")
        g.sh("ip", "route", "add", "default", "via", GATE)

    def counts(self, reset=False):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(f"{self.folder}/counts.sock")
            data = b""
            while not data.endswith(b"}"):
                data += s.recv(65536)
            s.sendall(b"r" if reset else b"-")
            return json.loads(data)

    def pings(self):
        """ICMP echo requests that reached the internet or the agent's namespace."""
        total = 0
        for ns in (self.internet, self.agent):
            rows = [r.split() for r in ns.sh("cat", "/proc/net/snmp").splitlines() if r.startswith("Icmp:")]
            total += int(dict(zip(rows[0], rows[1]))["InEchos"])
        return total

    def end(self):
        for ns in (self.guest, self.agent, self.internet):
            ns.end()


class Policy:
    """One berth-policy with its control channel."""

    def __init__(self, world, program, private=OFFICE + "/32"):
        self.world, self.program, self.private = world, program, private
        self.events, self.n, self.data = [], 0, b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.path = f"{world.folder}/policy.sock"
        self.log = open(f"{world.folder}/policy.log", "ab")
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener.close()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        ns = os.open(self.world.agent.path(), os.O_RDONLY)
        given = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (self.listener.fileno(), ns)]
        env = dict(os.environ, BERTH_STATE=f"{self.world.folder}/state", BERTH_POLICY_ALLOW_PRIVATE=self.private)
        line = 'exec "$@" 3<&%d 4<&%d %d<&- %d<&-' % (*given, *given)
        self.process = subprocess.Popen(["bash", "-c", line, "-", self.program, "--agent", "ag_test", "--name", "tester"],
                                        pass_fds=given, env=env, stdout=self.log, stderr=self.log)
        for fd in (*given, ns):
            os.close(fd)
        self.connect()

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)
        self.data = b""

    def receive(self):
        while len(self.data) < 4 or len(self.data) < 4 + struct.unpack("<I", self.data[:4])[0]:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("berth-policy closed the control channel")
            self.data += more
        size = struct.unpack("<I", self.data[:4])[0]
        msg, self.data = json.loads(self.data[4:4 + size]), self.data[4 + size:]
        return msg

    def ask(self, op, **args):
        self.n += 1
        text = json.dumps({"id": self.n, "op": op, "args": args}).encode()
        self.sock.sendall(struct.pack("<I", len(text)) + text)
        while True:
            msg = self.receive()
            if "event" in msg:
                self.events.append(msg["event"])
            elif msg["id"] == self.n:
                return msg

    def allow(self, *rules, mode="enforce", **more):
        msg = self.ask("policy.set", rules=list(rules), mode=mode, **more)
        if "ok" not in msg:
            raise RuntimeError(msg)

    def limit(self, *rules, **limits):
        msg = self.ask("policy.set", rules=list(rules), mode="enforce", limits=limits)
        if "ok" not in msg:
            raise RuntimeError(msg)

    def budget(self, **args):
        assert "ok" in self.ask("budget.set", **args), args

    def upstream(self, **args):
        msg = self.ask("upstream.set", **args)
        if "ok" not in msg:
            raise RuntimeError(msg)

    def take_events(self, seconds=0):
        """The events so far; after 1.4 s berth-policy holds none back any more, if it gets to its work."""
        time.sleep(seconds)
        self.ask("stats")
        events, self.events = self.events, []
        return events

    def parser_pid(self):
        return int(sh("pgrep", "-P", str(self.process.pid)).split()[0])

    def end(self):
        """Ends the parser, whose end is the wall's. In a build with sanitizers each looks for leaks then."""
        self.sock.close()
        if self.process.poll() is None:
            os.kill(self.parser_pid(), signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError("the wall goes on without its parser")

    def reports(self):
        """What a sanitizer said."""
        with open(self.log.name, errors="replace") as f:
            return [line for line in f if "Sanitizer" in line or "runtime error:" in line]
