#!/usr/bin/python3
"""berth-policy's benchmark: every figure beside a baseline of the same run. Started by tests/bench/run policy.

    guest --eth0-- tap0 agent (berth-policy)      host --uplink-- wire server      berth: 203.0.113.10
    guest --eth1-- side host (forwards)                                            direct: .11, squid: .12

All ways cross two pairs of veth. BERTH_BENCH_ROUNDS: each figure is the median of so many (5).
"""
import os
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

TESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "policy")
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), TESTS]
sys.dont_write_bytecode = True
import inside  # noqa: the path comes first

ROUNDS = int(os.environ.get("BERTH_BENCH_ROUNDS", "5"))
MIB, SETUPS, QUESTIONS = 1500, 300, 3000
GATE, GUEST, RESOLVER = "10.0.2.2", "10.0.2.15", "192.0.2.53"
BERTH, DIRECT, SQUID = "203.0.113.10", "203.0.113.11", "203.0.113.12"
QUICK = {"dns_per_second": 10000, "connections_per_second": 10000}
TICKS = os.sysconf("SC_CLK_TCK")
SQUID_CONF = """
http_port 127.0.0.1:3128
https_port 3129 intercept ssl-bump tls-cert={folder}/squid.pem generate-host-certificates=off
acl first at_step SslBump1
ssl_bump peek first
ssl_bump splice all
http_access allow all
cache deny all
access_log none
cache_log {folder}/squid.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
dns_nameservers {resolver}
shutdown_lifetime 0 seconds
pinger_enable off
"""


def sh(*args, **kw):
    return subprocess.run(args, check=True, capture_output=True, text=True, **kw).stdout


class Bench:
    def __init__(self, folder):
        from world import Namespace, Policy, bind_resolv_conf
        self.folder, self.load = folder, os.path.join(os.path.dirname(os.path.abspath(__file__)), "policy-load")
        sh("mount", "--make-rprivate", "/")
        bind_resolv_conf(folder, RESOLVER)
        self.agent, self.guest, self.server = Namespace(), Namespace(), Namespace()
        os.makedirs(f"{folder}/state/run/service")
        self.wire()
        self.serving = subprocess.Popen(self.server.command(self.load, "serve", RESOLVER))
        for host in ("n10", "n12"):
            self.write_hello(f"{host}.bench.test")
        self.policy = Policy(self, os.environ["BERTH_TEST_PROGRAM"])
        self.allow()
        self.squid = self.start_squid()

    def batch(self, ns, text):
        sh(*(ns.command() if ns else []), "ip", "-batch", "-", input=text)

    def wire(self):
        a, g, s = self.agent, self.guest, self.server
        self.batch(None, f"""link set lo up
link add tap0 netns {a.pid} type veth peer name eth0 netns {g.pid}
link add side type veth peer name eth1 netns {g.pid}
link add uplink type veth peer name wire netns {s.pid}
addr add 192.0.2.1/30 dev uplink
link set uplink up
addr add 10.9.0.1/24 dev side
link set side up
route add default via 192.0.2.2
""")
        self.batch(a, f"link set lo up\naddr add {GATE}/24 dev tap0\nlink set tap0 up\n")
        self.batch(g, f"""link set lo up
addr add {GUEST}/24 dev eth0
link set eth0 up
addr add 10.9.0.2/24 dev eth1
link set eth1 up
route add default via {GATE}
route add {DIRECT}/32 via 10.9.0.1
route add {SQUID}/32 via 10.9.0.1
route add {RESOLVER}/32 via 10.9.0.1
""")
        self.batch(s, f"""link set lo up
addr add 192.0.2.2/30 dev wire
link set wire up
route add default via 192.0.2.1
""" + "".join(f"addr add {x}/32 dev lo\n" for x in (BERTH, DIRECT, SQUID, RESOLVER)))
        with open("/proc/sys/net/ipv4/ip_forward", "w") as f:
            f.write("1")
        sh("nft", "-f", "-", input=f"""table ip bench {{
  chain redirect_squid {{ type nat hook prerouting priority dstnat; ip daddr {SQUID} tcp dport {{ 443, 444 }} redirect to :3129; }}
}}""")

    def write_hello(self, name):
        out = ssl.MemoryBIO()
        try:
            ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
        except ssl.SSLWantReadError:
            pass
        with open(f"{self.folder}/{name.split('.')[0]}.hello", "wb") as f:
            f.write(out.read())

    def allow(self, *more):
        began = time.monotonic_ns()
        self.policy.allow("n10.bench.test:443,444", "n11.bench.test", *more, limits=QUICK)
        return time.monotonic_ns() - began

    def start_squid(self):
        """None where Debian's squid-openssl is not installed."""
        program = shutil.which("squid", path="/usr/sbin:/usr/bin")
        if not program or "ssl-bump" not in sh(program, "-v") and "--with-openssl" not in sh(program, "-v"):
            return None
        sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench", "-keyout",
           f"{self.folder}/squid.key", "-out", f"{self.folder}/squid.crt")
        with open(f"{self.folder}/squid.pem", "w") as f:
            f.write(open(f"{self.folder}/squid.key").read() + open(f"{self.folder}/squid.crt").read())
        os.chmod(f"{self.folder}/squid.pem", 0o644)
        with open(f"{self.folder}/squid.conf", "w") as f:
            f.write(SQUID_CONF.format(folder=self.folder, resolver=RESOLVER))
        os.chmod(self.folder, 0o777)
        squid = subprocess.Popen([program, "-N", "-f", f"{self.folder}/squid.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 30
        while time.time() < deadline and squid.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", 3128), 1).close()
                return squid
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("squid does not start: " + open(f"{self.folder}/squid.log").read()[-2000:])

    def run(self, *args):
        return float(sh(*self.guest.command(self.load, *map(str, args)), timeout=300))

    def hello(self, host):
        return f"{self.folder}/{host}.hello"

    def end(self):
        for p in (self.squid, self.serving):
            if p:
                p.kill()
                p.wait()
        self.policy.end()
        for ns in (self.guest, self.agent, self.server):
            ns.end()


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ")[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def median(f, *args):
    return statistics.median(f(*args) for _ in range(ROUNDS))


class Table:
    def __init__(self):
        self.missed = 0

    def row(self, what, berth, base, figure, goal, met):
        self.missed += not met
        print(f"{what:<46}{berth:>14}{base:>26}{figure:>14}   {goal:<18}{'met' if met else 'MISSED'}", flush=True)

    def at_least(self, what, berth, base, unit, goal):
        self.row(what, f"{berth:.0f} {unit}", f"{base:.0f} {unit}", f"{berth / base:.2f}", f"at least {goal}", berth / base >= goal)

    def at_most(self, what, value, base, unit, figure, shown, goal):
        self.row(what, f"{value:.1f} {unit}", f"{base:.1f} {unit}" if base is not None else "", shown, f"at most {goal}", figure)


def bench_dns(b, t):
    b.run("dns", GATE, "n10.bench.test", 10)
    through = median(b.run, "dns", GATE, "n10.bench.test", QUESTIONS)
    direct = median(b.run, "dns", RESOLVER, "n10.bench.test", QUESTIONS)
    added = through - direct
    t.at_most("DNS, cached, against the upstream", through, direct, "us", added <= 200, f"+{added:.0f} us", "+200 us")


def bench_throughput(b, t):
    """Interleaved, so that what else the machine does meets all of them."""
    relay, direct, per_cpu = [], [], {"berth": [], "squid": []}
    parser = b.policy.parser_pid()
    for _ in range(ROUNDS):
        before = cpu_seconds(parser)
        relay.append(b.run("bulk", BERTH, b.hello("n10"), MIB))
        per_cpu["berth"].append(MIB / max(cpu_seconds(parser) - before, 1 / TICKS))
        direct.append(b.run("bulk", DIRECT, b.hello("n10"), MIB))
        if b.squid:
            before = cpu_seconds(b.squid.pid)
            b.run("bulk", SQUID, b.hello("n12"), MIB)
            per_cpu["squid"].append(MIB / max(cpu_seconds(b.squid.pid) - before, 1 / TICKS))
    t.at_least("relay throughput, against direct", statistics.median(relay), statistics.median(direct), "MiB/s", 0.7)
    if b.squid:
        t.at_least("throughput per CPU second, against squid", *(statistics.median(per_cpu[k]) for k in ("berth", "squid")), "MiB", 2)
    else:
        print("throughput against squid: skipped, squid-openssl is not installed")


def bench_setup(b, t):
    parser = b.policy.parser_pid()
    before = cpu_seconds(parser)
    through = median(b.run, "setup", BERTH, b.hello("n10"), SETUPS)
    own = cpu_seconds(parser) - before
    direct = median(b.run, "setup", DIRECT, b.hello("n10"), SETUPS)
    print(f"{'connection, hello, one byte; against direct':<46}{through:>11.0f} us{direct:>23.0f} us{through / direct:>14.2f}   (no goal)", flush=True)
    if not b.squid:
        return
    before = cpu_seconds(b.squid.pid)
    squid = median(b.run, "setup", SQUID, b.hello("n12"), SETUPS)
    theirs = cpu_seconds(b.squid.pid) - before
    t.at_least("connections per CPU second, against squid", ROUNDS * SETUPS / max(own, 1 / TICKS), ROUNDS * SETUPS / max(theirs, 1 / TICKS), "", 2)
    print(f"{'connection, hello, one byte; against squid':<46}{through:>11.0f} us{squid:>23.0f} us{through / squid:>14.2f}   (no goal)", flush=True)


def many_rules(b):
    """As many as there may be, up to 10,000."""
    for n in (10000, 256):
        rules = [f"r{i}.s{i % 97}.other{i % 13}.test" for i in range(n - 2)]
        try:
            b.allow(*rules)
            return n
        except RuntimeError:
            pass
    raise RuntimeError("not even 256 rules are taken")


def bench_rules(b, t):
    """A question about a name that no rule has is a decision and nothing else."""
    name = "not.allowed.s5.other3.test"
    b.allow(*(f"few{i}.test" for i in range(8)))
    few = median(b.run, "dns", GATE, name, QUESTIONS)
    n = many_rules(b)
    many = median(b.run, "dns", GATE, name, QUESTIONS)
    t.at_most(f"a decision with {n} rules, against 10", many, few, "us", many / few <= 1.5, f"{many / few:.2f}", "1.5")
    b.allow()


def bench_change(b, t):
    """From the command to the end of a connection that is no longer allowed, and to the answer."""
    ended, answered = [], []
    for _ in range(4 * ROUNDS):
        b.allow()
        b.run("dns", GATE, "n10.bench.test", 1)
        p = subprocess.Popen(b.guest.command(b.load, "reset", BERTH, b.hello("n10")), stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline() == "open\n"
        began = time.monotonic_ns()
        b.policy.allow("n11.bench.test", limits=QUICK)
        answered.append((time.monotonic_ns() - began) / 1e6)
        ended.append((int(p.stdout.readline()) - began) / 1e6)
        p.wait()
    for what, ms in (("a rule taken away: its connection is cut", ended), ("a rule taken away: its addresses are closed", answered)):
        m = statistics.median(ms)
        t.at_most(what, m, None, "ms", m <= 10, f"{m:.1f} ms", "10 ms")


def main():
    if not inside.is_inside():
        return inside.enter(os.path.abspath(__file__), os.environ["BERTH_BENCH_LOAD"])
    folder, b, t = tempfile.mkdtemp(prefix="berth-policy-bench."), None, Table()
    os.chmod(folder, 0o755)
    try:
        b = Bench(folder)
        print(f"{'policy':<46}{'berth':>14}{'baseline':>26}{'ratio':>14}   goal")
        for bench in (bench_dns, bench_setup, bench_throughput, bench_rules, bench_change):
            bench(b, t)
    finally:
        if b:
            b.end()
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if t.missed else 0


if __name__ == "__main__":
    sys.exit(main())
