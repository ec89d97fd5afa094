"""What breaks around and inside berth-policy: each time nothing gets out, an event says what, and it comes back by itself."""
import ctypes
import os
import resource
import signal
import socket
import subprocess
import time

from cases import TCP_PROBE, case
from world import ALIAS, EVIL, GOOD, RESOLVER, WILD

SANITIZED = "ASAN_OPTIONS" in os.environ


def until(condition, what, seconds=60):
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, what
        time.sleep(0.05)


def errors(t):
    """What berth-policy said that it cannot do."""
    return [e["detail"] for e in t.policy.take_events(0.3) if e["type"] == "error"]


def rest_of_events(t):
    """From a berth-policy that ends: what it said before."""
    said = t.policy.events
    try:
        while True:
            said.append(t.policy.receive().get("event", {}))
    except (ConnectionError, socket.timeout):
        t.policy.events = []
    return [e["detail"] for e in said if e.get("type") == "error"]


def closed(t):
    """Nothing of what is allowed or not gets anywhere now, with or without a name."""
    t.world.counts(reset=True)
    for args in (["https://allowed.test/"], ["--resolve", f"allowed.test:443:{GOOD}", "https://allowed.test/"], [f"http://{EVIL}/"]):
        assert t.curl(*args, timeout=8)[0] != 0, args
    assert t.python(TCP_PROBE, EVIL, 80, 8) != "connected"
    t.nothing_reached()


def back(t, *rules):
    t.policy.allow(*(rules or ("allowed.test",)))
    until(lambda: t.curl("https://allowed.test/")[1] == 200, "it does not come back")


def ended(t):
    """It has ended by itself, both processes; berthd would start it again, as this does."""
    until(lambda: t.policy.process.poll() is not None, "it goes on")
    assert t.policy.process.returncode != 0


def parallel_digs(t, *names, seconds=100):
    """name -> (status, addresses), all asked at once."""
    digs = {n: subprocess.Popen(t.world.guest.command("dig", "+tries=1", f"+time={seconds}", n), stdout=subprocess.PIPE, text=True)
            for n in names}
    out = {n: d.communicate(timeout=150)[0] for n, d in digs.items()}
    return {n: (next((w for w in ("NOERROR", "SERVFAIL", "NXDOMAIN") if w in o), "nothing"),
                sorted(line.split()[-1] for line in o.splitlines() if "\tA\t" in line)) for n, o in out.items()}


def unanswered(t, name):
    return parallel_digs(t, name, seconds=12)[name][1] == []


@case
def resolvers_that_lie(t):
    some = [f"198.51.100.{n}" for n in range(100, 116)]
    want = {"spoofed.test": ("NOERROR", [GOOD]), "poisoned.test": ("NOERROR", [GOOD]), "chain.test": ("NOERROR", []),
            "loops.test": ("NOERROR", []), "itself.test": ("NOERROR", []), "huge.test": ("NOERROR", some), "hugegood.test": ("NOERROR", some),
            "hugedatagram.test": ("SERVFAIL", []), "againtruncated.test": ("NOERROR", []), "cut.test": ("SERVFAIL", []),
            "promised.test": ("SERVFAIL", []), "rubbish.test": ("SERVFAIL", []), "slow.test": ("NOERROR", [GOOD]),
            "late.test": ("SERVFAIL", []), "forged.test": ("NOERROR", [GOOD])}
    t.policy.allow("later.test", *want)
    got = parallel_digs(t, *want)
    assert got == want, {n: (got[n], want[n]) for n in want if got[n] != want[n]}
    # Nothing that was said beside an answer is believed.
    assert t.addresses("later.test") == [WILD] and t.world.counts()["dns later.test 1"] == 1
    assert t.curl("--resolve", f"later.test:443:{EVIL}", "https://later.test/")[0] != 0
    pins = t.world.agent.sh("nft", "list", "set", "inet", "berth", "pins")
    assert EVIL not in pins, pins
    t.nothing_reached()


def resolv_conf(t, text):
    with open("/etc/resolv.conf", "w") as f:  # the file that is mounted over it in this world
        f.write(text)
    time.sleep(1.1)  # berth-policy looks again after a second


@case
def resolvers_that_are_dead(t):
    t.policy.allow("allowed.test", "fresh.test")
    assert t.addresses("allowed.test") == [GOOD]
    t.policy.take_events()
    try:
        for text in (f"nameserver {ALIAS}\n", "nameserver 192.0.2.99\n", "# none\n"):
            resolv_conf(t, text)
            assert "SERVFAIL" in t.guest("dig", "+tries=1", "+time=20", "fresh.test").stdout, text
            assert t.curl("--resolve", f"fresh.test:443:{WILD}", "https://fresh.test/", timeout=25)[0] != 0
            t.nothing_reached()
            assert t.addresses("allowed.test") == [GOOD], "what is known is still answered"
            time.sleep(2.1)  # a failure is remembered for so long
    finally:
        resolv_conf(t, f"nameserver {RESOLVER}\n")
    until(lambda: t.addresses("fresh.test") == [WILD], "it does not come back")
    assert t.curl("https://fresh.test/")[1] == 200
    assert [e["up"] for e in t.policy.take_events() if e["type"] == "upstream"] == [False, True]


@case
def a_wall_without_its_table(t):
    t.policy.allow("allowed.test", "later.test")
    assert t.curl("https://allowed.test/")[1] == 200
    t.world.agent.sh("nft", "delete", "table", "inet", "berth")
    assert unanswered(t, "later.test")
    said = rest_of_events(t)
    assert any("the wall has ended" in e for e in said), said
    ended(t)
    closed(t)
    t.policy.start()
    back(t)


@case
def a_wall_that_loses_its_table_in_silence(t):
    """Nobody asks for a pin: the next count, which berthd asks for every 15 s, finds it."""
    t.policy.allow("allowed.test")
    t.world.agent.sh("nft", "delete", "table", "inet", "berth")
    try:
        t.policy.ask("stats")
    except (ConnectionError, socket.timeout):
        pass
    ended(t)
    closed(t)
    t.policy.start()
    back(t)


class Regs(ctypes.Structure):
    """user_regs_struct of x86-64."""
    _fields_ = [(n, ctypes.c_ulonglong) for n in (
        "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()]


def ptrace(request, pid, data=None):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request}")


def close_in(pid, fd):
    """Makes a process that waits in a system call close a descriptor of its own, and wait on."""
    attach, detach, step, get_regs, set_regs = 16, 17, 9, 12, 13
    before = Regs()
    ptrace(attach, pid)
    os.waitpid(pid, 0)
    ptrace(get_regs, pid, ctypes.addressof(before))
    call, again = (Regs.from_buffer_copy(before) for _ in range(2))
    call.rip, call.rax, call.rdi, call.orig_rax = before.rip - 2, 3, fd, 2**64 - 1
    again.rip, again.rax, again.orig_rax = before.rip - 2, before.orig_rax, 2**64 - 1
    ptrace(set_regs, pid, ctypes.addressof(call))
    ptrace(step, pid)
    os.waitpid(pid, 0)
    ptrace(set_regs, pid, ctypes.addressof(again))
    ptrace(detach, pid)


def netlink_fds(pid):
    inodes = {row.split()[9] for row in open(f"/proc/{pid}/net/netlink").read().splitlines()[1:]}
    links = {int(n): os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
    return [fd for fd, where in links.items() if where.startswith("socket:[") and where[8:-1] in inodes]


@case
def a_wall_whose_netlink_fails(t):
    t.policy.allow("allowed.test", "later.test")
    pid = t.policy.process.pid
    fds = netlink_fds(pid)
    assert fds, "the wall has no netlink socket"
    for fd in fds:
        close_in(pid, fd)
    assert not netlink_fds(pid) and t.policy.process.poll() is None
    assert unanswered(t, "later.test")
    # An answer that it was in the middle of may come twice: close_in() begins the system call anew.
    said = rest_of_events(t)
    assert any(e.startswith("the wall ") and e.endswith("everything is closed") for e in said), said
    ended(t)
    closed(t)
    t.policy.start()
    back(t)


@case
def a_wall_that_hangs(t):
    """It never answers again; the parser does not wait for ever."""
    t.policy.allow("allowed.test", "later.test")
    parser = t.policy.parser_pid()
    os.kill(t.policy.process.pid, signal.SIGSTOP)
    assert unanswered(t, "later.test")
    said = rest_of_events(t)
    assert any("the wall does not answer" in e for e in said), said
    until(lambda: open(f"/proc/{parser}/stat").read().rsplit(") ")[1][0] == "Z", "the parser goes on")
    os.kill(t.policy.process.pid, signal.SIGKILL)  # as berthd does with the session of one that hangs up
    ended(t)
    closed(t)
    t.policy.start()
    back(t)


def nft(t, *commands):
    for c in commands:
        subprocess.run(t.world.agent.command("nft", "-f", "-"), input=c + "\n", text=True, check=True)


@case
def a_set_that_is_full(t):
    """In the kernel: somebody else has filled it."""
    t.policy.allow("allowed.test", "later.test")
    assert t.curl("https://allowed.test/")[1] == 200
    others = [f"9.9.{i >> 8}.{i & 255} . 9" for i in range(8192 - 2)]
    nft(t, *(f"add element inet berth pins {{ {' timeout 1h, '.join(others[i:i + 500])} timeout 1h }}" for i in range(0, 8192, 500)))
    assert "SERVFAIL" in t.dig("later.test")
    assert any("later.test is not answered" in e for e in errors(t))
    assert t.curl("--resolve", f"later.test:443:{WILD}", "https://later.test/")[0] != 0
    assert not t.reached(f"tcp {GOOD}:443"), t.reached()
    assert t.curl("https://allowed.test/")[1] == 200, "what was open stays so"
    nft(t, *(f"delete element inet berth pins {{ {', '.join(others[i:i + 500])} }}" for i in range(0, 8192, 500)))
    assert t.curl("https://later.test/")[1] == 200


@case
def a_guest_that_fills_the_set(t):
    """Names with sixteen addresses at sixteen ports, until there is no room: the next is closed, the others go on."""
    ports = ",".join(str(p) for p in range(1000, 1016))
    t.policy.allow("allowed.test", "later.test", f"*.full.test:{ports}")
    assert t.curl("https://allowed.test/")[1] == 200
    digs = parallel_digs(t, *(f"n{i}.full.test" for i in range(34)))
    status = [digs[n][0] for n in digs]
    assert status.count("NOERROR") in (31, 32) and status.count("SERVFAIL") == 34 - status.count("NOERROR"), status
    assert t.policy.ask("stats")["ok"]["pins"] <= 8192
    until(lambda: any("could not be opened" in e for e in errors(t)), "nobody says so")  # once in ten seconds
    assert t.curl("https://allowed.test/")[1] == 200
    back(t, "allowed.test", "later.test")
    assert t.curl("https://later.test/")[1] == 200


@case
def questions_without_end(t):
    """More than may wait: refused at once, and others are answered when there is room."""
    t.policy.allow("silent.test", "allowed.test")
    code = """
import socket
s = socket.socket(2, 2); s.settimeout(15); s.connect(("10.0.2.2", 53)); got = 0
for i in range(400):
    s.send(i.to_bytes(2, "big") + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6silent\\4test\\0\\0\\1\\0\\1")
    if i > 255: got += s.recv(500)[3] & 15 == 2
print(got)
"""
    assert int(t.python(code)) >= 100
    assert any("wait for answers" in e for e in errors(t))
    until(lambda: t.addresses("allowed.test") == [GOOD], "it does not come back")


HOLD = """
import socket, sys, time
held = []
for i in range(int(sys.argv[2])):
    s = socket.socket(); s.settimeout(3)
    try:
        s.connect((sys.argv[1], 80)); s.send(b"GET /endless HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n"); held.append(s)
    except OSError: pass
ok = 0
for s in held:
    try: ok += b"200 OK" in s.recv(1000)
    except OSError: pass
print(ok, flush=True)
sys.stdin.read()
"""


def hold(t, n):
    """n connections from the guest that stay; how many of them got an answer."""
    p = subprocess.Popen(t.world.guest.command("/usr/bin/python3", "-c", HOLD, GOOD, str(n)), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
    return p, int(p.stdout.readline())


@case
def no_descriptors_left(t):
    t.policy.allow("allowed.test", "later.test")
    t.addresses("allowed.test")
    parser = t.policy.parser_pid()
    before, hard = resource.prlimit(parser, resource.RLIMIT_NOFILE)
    for room in (48, 0):
        t.world.counts(reset=True)
        limit = len(os.listdir(f"/proc/{parser}/fd")) + room
        resource.prlimit(parser, resource.RLIMIT_NOFILE, (limit, hard))
        p, ok = hold(t, 60)
        try:
            assert ok <= room, (ok, room)
            assert t.curl("--resolve", f"later.test:443:{WILD}", "https://later.test/", timeout=15)[0] != 0, "never resolved for it"
            until(lambda: any("descriptors" in e or "files" in e for e in errors(t)), "nothing says why")
            assert t.policy.ask("hello")["ok"]
            assert not t.reached(f"tcp {GOOD}:80"), t.reached()
        finally:
            p.communicate("")
            resource.prlimit(parser, resource.RLIMIT_NOFILE, (before, hard))
        until(lambda: t.curl("https://allowed.test/")[1] == 200, "it does not come back")
    assert t.curl("https://later.test/")[1] == 200


def starved(t, pid, make_use_of_it):
    """With room for little more memory than it has now: it may refuse or end, but not open."""
    if SANITIZED:
        return  # a sanitizer takes more than anybody can count, and reports an end for want of it
    t.policy.allow("allowed.test", "later.test")
    t.addresses("allowed.test")
    used = int(open(f"/proc/{pid}/statm").read().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
    make_use_of_it()
    if t.policy.process.poll() is None:
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        ended(t)
        closed(t)
        t.policy.start()
    assert not [k for k in t.world.counts() if EVIL in k]
    back(t)


@case
def no_memory_left_for_the_parser(t):
    def use():
        p, _ = hold(t, 200)
        p.communicate("")
        until(lambda: t.policy.process.poll() is not None, "a parser without memory goes on")
    starved(t, t.policy.parser_pid(), use)


@case
def no_memory_left_for_the_wall(t):
    ports = ",".join(str(p) for p in range(1000, 1016))

    def use():
        t.policy.allow(f"*.full.test:{ports}")
        parallel_digs(t, *(f"n{i}.full.test" for i in range(20)))
    starved(t, t.policy.process.pid, use)
