"""How much an agent may use. No case minds being slow: what is paced may take longer, never less."""
import subprocess
import threading
import time

from cases import case, timed
from world import BIG, GATE, GOOD

MANY_CONNECTIONS = """
import socket, sys
n, all, reset = int(sys.argv[2]), [], 0
for i in range(n):
    s = socket.socket(); s.settimeout(20)
    try: s.connect((sys.argv[1], 80)); all.append(s)
    except OSError: reset += 1
for s in all[1:]:  # what was refused is reset, what was not waits for a request
    s.settimeout(0.5)
    try: reset += s.recv(1) == b""
    except TimeoutError: pass
    except OSError: reset += 1
print(reset)
"""


def download(t, *args):
    r = t.guest("curl", "-sS", "-m", "90", "--cacert", f"{t.world.folder}/ca.crt", "-o", "/dev/null", "-w", "%{size_download}", *args, timeout=100)
    return int(r.stdout or 0)


def stats(t):
    return t.policy.ask("stats")["ok"]


@case
def bandwidth_is_paced(t):
    t.policy.limit("allowed.test", bandwidth_down=4 << 20)
    size, seconds = timed(download, t, "https://allowed.test/big")
    assert size == BIG and seconds > 1.8, (size, seconds)
    t.policy.limit("allowed.test", bandwidth_up=4 << 20)
    upload = f"head -c {BIG} /dev/zero | curl -sS -m 60 --cacert {t.world.folder}/ca.crt -T - https://allowed.test/up"
    r, seconds = timed(t.guest, "bash", "-c", upload)
    assert f"/up {BIG}" in r.stdout and seconds > 1.8, (r.stdout, r.stderr, seconds)


@case
def bandwidth_is_shared_by_all_connections(t):
    t.policy.limit("allowed.test", bandwidth_down=10 << 20)
    sizes = []
    threads = [threading.Thread(target=lambda: sizes.append(download(t, "http://allowed.test/big"))) for _ in range(4)]

    def all_of_them():
        for x in threads:
            x.start()
        for x in threads:
            x.join()
    _, seconds = timed(all_of_them)
    assert sizes == [BIG] * 4 and seconds > 3, (sizes, seconds)


@case
def a_raised_bandwidth_goes_on(t):
    """At 4 KiB a second it would take 40 minutes."""
    t.policy.limit("allowed.test", bandwidth_down=4096)
    slow = subprocess.Popen(t.world.guest.command("curl", "-sS", "-m", "90", "-o", "/dev/null", "-w", "%{size_download}", "http://allowed.test/big"),
                            stdout=subprocess.PIPE, text=True)
    while stats(t)["bytes_down"] < 10000:
        assert slow.poll() is None
    t.policy.allow("allowed.test")
    assert int(slow.communicate()[0]) == BIG


@case
def many_slow_connections_all_move(t):
    """None starves, and none of them ever gets its share twice before another has it once."""
    t.policy.limit("allowed.test", bandwidth_down=128 << 10)
    t.addresses("allowed.test")
    code = """
import selectors, socket
sel, got = selectors.DefaultSelector(), {}
for i in range(20):
    s = socket.create_connection(("%s", 80), 20)
    s.sendall(b"GET /big HTTP/1.1\\r\\nHost: allowed.test\\r\\n\\r\\n")
    sel.register(s, selectors.EVENT_READ); got[s] = 0
while min(got.values()) < 10000:
    for k, _ in sel.select(20): got[k.fileobj] += len(k.fileobj.recv(65536))
print("moved")
""" % GOOD
    assert t.python(code, timeout=90) == "moved"


@case
def questions_per_second(t):
    t.policy.limit(dns_per_second=None)
    t.policy.limit("allowed.test", dns_per_second=1)
    t.policy.take_events(0)
    code = """
import socket
s = socket.socket(2, 2); s.settimeout(10); s.connect(("%s", 53)); seen = {}
for i in range(100):
    s.send(b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7allowed\\4test\\0\\0\\1\\0\\1")
    r = s.recv(500)[3] & 15; seen[r] = seen.get(r, 0) + 1
print(seen.get(0, 0), seen.get(5, 0))
""" % GATE
    answered, refused = map(int, t.python(code, timeout=60).split())
    assert answered >= 10 and refused >= 50 and answered + refused == 100, (answered, refused)
    told, deadline = 0, time.time() + 30
    while told < refused and time.time() < deadline:
        told += sum(e["count"] for e in t.denied("allowed.test") if e["reason"] == "too many questions a second")
    assert told == refused, (told, refused)
    assert stats(t)["limited"] >= refused
    t.policy.limit("allowed.test", dns_per_second=None)
    assert t.python(code, timeout=60) == "100 0"


@case
def a_tunnel_below_a_wildcard(t):
    t.policy.limit(dns_per_second=None)  # so that the next limit begins with all it allows
    t.policy.limit("*.wild.test", "allowed.test", dns_per_second=10)
    out = t.guest("bash", "-c", "for i in $(seq 80); do echo $i.wild.test; done >/tmp/berth-names; dig +tries=1 +time=5 -f /tmp/berth-names", timeout=60).stdout
    asked = len([k for k in t.world.counts() if k.endswith(".wild.test 1")])
    assert 20 <= asked <= 40 and out.count("status: REFUSED") == 80 - asked, (asked, out.count("REFUSED"))
    t.denied_because("too many names below wildcards a minute")
    assert t.addresses("allowed.test") == [GOOD], "other names do not suffer"


@case
def connections_per_second(t):
    t.policy.limit(connections_per_second=None)
    t.policy.limit("allowed.test", connections_per_second=1)
    t.addresses("allowed.test")
    reset = int(t.python(MANY_CONNECTIONS, GOOD, 60, timeout=90))
    assert 20 <= reset <= 50, reset
    t.denied_because("too many new connections a second")


@case
def connections_at_a_time(t):
    t.policy.limit("allowed.test", connections=5)
    t.addresses("allowed.test")
    assert t.python(MANY_CONNECTIONS, GOOD, 12, timeout=60) == "7"
    t.denied_because("too many connections at a time")


@case
def a_total_ends_everything(t):
    t.policy.allow("allowed.test", "later.test")
    used = stats(t)["bytes_up"] + stats(t)["bytes_down"]
    t.policy.take_events(0)
    t.policy.budget(bytes=used + 3_000_000, limit="bytes_per_day")
    size = download(t, "https://allowed.test/big")
    assert size < 3_500_000, size  # what a reset overtakes is lost on the way
    assert t.curl("https://allowed.test/")[0] != 0
    assert "REFUSED" in t.dig("later.test")
    events = t.policy.take_events()
    usage = [e["bytes_up"] + e["bytes_down"] for e in events if e["type"] == "usage"]
    assert usage and used + 3_000_000 <= usage[-1] <= used + 3_000_000 + 2 * 65536, (used, usage)
    assert "bytes_per_day is used up" in {e["reason"] for e in events if e.get("verdict") == "deny"}
    t.policy.allow("allowed.test")
    assert t.curl("https://allowed.test/")[0] != 0, "other rules are no other budget"
    t.policy.budget(bytes=usage[-1] + 1_000_000, limit="bytes_per_day")
    assert t.curl("https://allowed.test/")[1] == 200
    t.policy.budget()
    assert download(t, "https://allowed.test/big") == BIG


@case
def wrong_limits_change_nothing(t):
    t.policy.limit("allowed.test", connections=3)
    for wrong in ({"bandwidth": 1}, {"bandwidth_up": 10}, {"connections": 513}, {"connections": 1.5}, {"dns_per_second": "1"},
                  {"on_limit": "explode"}, {"bytes_per_day": -1}):
        msg = t.policy.ask("policy.set", rules=["evil.test"], limits=wrong)
        assert msg.get("error", {}).get("status") == 400, (wrong, msg)
    assert t.policy.ask("budget.set", bytes=-1)["error"]["status"] == 400
    assert t.curl("https://allowed.test/")[1] == 200
    assert t.curl("https://evil.test/")[0] != 0
    assert t.python(MANY_CONNECTIONS, GOOD, 5, timeout=60) == "2"
