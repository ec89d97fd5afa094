"""Rules beyond names: what is denied, other protocols, networks, learning; and their change while connections live."""
import subprocess
import time

from cases import TCP_PROBE, case, timed
from world import EVIL, GOOD, OFFICE, SELF, WILD

BANNER = "b'SSH-2.0-test\\r\\n'"
SPEAK = """
import socket, sys
s = socket.socket(); s.settimeout(8)
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    print(s.recv(100))
except OSError as e: print(type(e).__name__)
"""
HOLD = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); s.settimeout(20)
print(s.recv(100), flush=True)
try: print("closed" if not s.recv(1) else "data", flush=True)
except OSError as e: print(type(e).__name__, flush=True)
"""


def speak(t, addr, port):
    return t.python(SPEAK, addr, port)


def hold(t, addr, port):
    """A connection that has got its first bytes and stays."""
    p = subprocess.Popen(t.world.guest.command("/usr/bin/python3", "-c", HOLD, addr, str(port)), stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline().strip() == BANNER
    return p


@case
def denied_names(t):
    t.policy.allow("*.wild.test", "wild.test", "deny a.wild.test", "deny *.b.wild.test", "deny wild.test:80")
    for name, rule in (("a.wild.test", "deny a.wild.test"), ("deep.b.wild.test", "deny *.b.wild.test")):
        out = t.dig(name)
        assert "NXDOMAIN" in out and "EDE: 15" in out, out
        assert t.curl("--resolve", f"{name}:443:{WILD}", f"https://{name}/")[0] != 0
        denied = t.denied(name)
        assert denied and denied[0]["rule"] == rule and denied[0]["reason"] == "a rule denies this name", denied
    assert t.curl("https://wild.test/")[1] == 200
    assert t.curl("http://wild.test/")[0] != 0
    assert not t.reached(f"tcp {WILD}:443 tls wild.test", f"tcp {WILD}:443 wild.test", f"tcp {WILD}:443"), t.reached()
    assert not [k for k in t.world.counts() if k.startswith(("dns a.wild", "dns deep"))]


@case
def denied_networks(t):
    t.policy.allow("wild.test", "allowed.test", f"deny {WILD}", f"{WILD}:22/tcp", f"deny {GOOD}/31:443")
    assert "NXDOMAIN" in t.dig("wild.test")
    assert speak(t, WILD, 22) in ("b''", "ConnectionResetError")
    assert t.curl("http://allowed.test/")[1] == 200
    assert t.curl("https://allowed.test/")[0] != 0
    assert not t.reached(f"tcp {GOOD}:80"), t.reached()
    told = t.denied_because("a rule denies this address")
    denied = {(e["address"], e["port"], e["rule"]) for e in told if e["reason"] == "a rule denies this address"}
    assert denied == {(WILD, 22, f"deny {WILD}")}, denied


@case
def other_protocols_by_name(t):
    t.policy.allow("wild.test:22/tcp", "allowed.test")
    assert speak(t, WILD, 22) == "ConnectionRefusedError", "open before the name was resolved"
    assert t.addresses("wild.test") == [WILD]
    assert speak(t, WILD, 22) == BANNER
    for addr, port in ((WILD, 443), (WILD, 80), (WILD, 853), (GOOD, 22), (EVIL, 22)):
        assert speak(t, addr, port) == "ConnectionRefusedError", (addr, port)
    assert t.curl("http://wild.test/")[0] != 0
    assert not t.reached(f"tcp {WILD}:22"), t.reached()
    told = [e for e in t.policy.take_events() if e.get("verdict") == "allow"]
    assert told[0]["name"] == "wild.test" and told[0]["protocol"] == "tcp" and told[0]["rule"] == "wild.test:22/tcp", told
    assert told[0]["bytes_down"] == 14, told
    t.policy.allow("wild.test:22")
    t.world.counts(reset=True)  # without /tcp a name is looked for, and this protocol says none
    t.raw(WILD, 22, "SSH-2.0-x\\r\\n\\r\\n", wait=5)
    t.nothing_reached()


@case
def networks(t):
    t.policy.allow(f"{WILD}/30:22,8080/tcp", f"{WILD}:22/tcp", f"{OFFICE}:80/tcp")
    assert speak(t, WILD, 22) == BANNER
    assert t.curl(f"http://{WILD}:8080/")[1] == 200
    assert t.curl(f"http://{OFFICE}/")[1] == 200
    for addr, port in ((WILD, 443), (GOOD, 22), (EVIL, 8080), (OFFICE, 443)):
        assert speak(t, addr, port) == "ConnectionRefusedError", (addr, port)
    assert not t.reached(f"tcp {WILD}:22", f"tcp {WILD}:8080", f"tcp {OFFICE}:80"), t.reached()
    told = {(e["address"], e["port"], e["rule"], e["name"]) for e in t.policy.take_events() if e.get("verdict") == "allow"}
    assert (WILD, 22, f"{WILD}:22/tcp", "") in told and (WILD, 8080, f"{WILD}/30:22,8080/tcp", "") in told, told
    t.policy.allow("allowed.test")
    assert speak(t, WILD, 22) == "ConnectionRefusedError"
    assert "networks" in t.world.agent.sh("nft", "list", "set", "inet", "berth", "networks")


@case
def addresses_that_no_rule_opens(t):
    """A network as wide as can be opens neither the agent's link, nor the host, nor loopback, nor metadata."""
    t.policy.allow("0.0.0.0/0:22,80/tcp")
    assert speak(t, EVIL, 22) == BANNER
    t.world.counts(reset=True)
    for addr in ("10.0.2.2", "127.0.0.1", SELF, "192.0.2.1", "169.254.169.254", "0.0.0.1", "224.0.0.1", "100.100.100.200"):
        out, seconds = timed(speak, t, addr, 22)
        assert out in ("ConnectionRefusedError", "ConnectionResetError", "b''", "OSError", "PermissionError"), (addr, out)
    t.nothing_reached()


@case
def a_network_opens_its_own_ports_only(t):
    """A name may resolve into a private network that a rule names, and reaches there what that rule opens."""
    t.policy.allow("private.test", "10.1.2.0/24:22/tcp")
    assert t.addresses("private.test") == ["10.1.2.3"]
    pins = t.world.agent.sh("nft", "list", "set", "inet", "berth", "pins")
    assert "10.1.2.3" not in pins, pins
    assert t.python(TCP_PROBE, "10.1.2.3", 443) == "ConnectionRefusedError"
    t.policy.allow("private.test")
    assert "NXDOMAIN" in t.dig("private.test")
    t.nothing_reached()


@case
def learning(t):
    t.policy.allow("allowed.test", "deny a.wild.test", mode="learn")
    assert t.curl("https://allowed.test/")[1] == 200
    assert t.curl("https://evil.test/")[1] == 200
    assert t.curl("http://evil.test:8080/")[1] == 200
    assert speak(t, EVIL, 22) == BANNER
    assert "NXDOMAIN" in t.dig("a.wild.test")
    for name in ("private.test", "meta.test", "loop.test"):
        assert "NXDOMAIN" in t.dig(name), name
    for addr, port in ((WILD, 80), (WILD, 22), ("8.8.8.8", 853)):
        assert speak(t, addr, port) == "ConnectionRefusedError", (addr, port)
    t.curl("--resolve", f"allowed.test:443:{EVIL}", "-k", "https://allowed.test/")
    assert f"tcp {EVIL}:443 tls allowed.test" not in t.world.counts()
    events = t.policy.take_events()
    told = {(e["name"], e["port"], e["protocol"]) for e in events if e.get("verdict") == "learn"}
    for one in (("evil.test", 0, "dns"), ("evil.test", 443, "tls"), ("evil.test", 8080, "http"), ("evil.test", 22, "tcp")):
        assert one in told, (one, told)
    assert [e["rule"] for e in events if e.get("name") == "allowed.test" and e.get("verdict") == "allow"] == ["allowed.test"], events
    held = hold(t, EVIL, 22)
    t.policy.allow("allowed.test")
    assert held.stdout.readline().strip() == "ConnectionResetError"
    assert speak(t, EVIL, 22) == "ConnectionRefusedError"
    assert t.curl("https://evil.test/")[0] != 0
    assert t.python(TCP_PROBE, GOOD, 443) == "connected", "a name that is still allowed is not forgotten"


@case
def changes_cut_what_they_close(t):
    t.policy.allow("wild.test:22/tcp", f"{EVIL}:22/tcp", f"{GOOD}:22/tcp")
    t.addresses("wild.test")
    by_name, by_network, stays = (hold(t, a, 22) for a in (WILD, EVIL, GOOD))
    t0 = time.time()
    t.policy.allow("wild.test", f"{GOOD}/31:22/tcp")
    for p in (by_name, by_network):
        assert p.stdout.readline().strip() == "ConnectionResetError"
    assert time.time() - t0 < 2
    assert stays.poll() is None, "one that another rule allows was cut"
    for addr in (WILD, EVIL):
        assert speak(t, addr, 22) == "ConnectionRefusedError", addr
    t.policy.allow(f"{GOOD}/31:22/tcp", f"deny {GOOD}")
    assert stays.stdout.readline().strip() == "ConnectionResetError"
    t.denied_because("the rules have changed")


@case
def more_ports_without_a_new_question(t):
    """A guest that knows the address of a name may use a port as soon as a rule opens it."""
    t.policy.allow("port.test:80")
    assert t.addresses("port.test") == [GOOD]
    assert t.python(TCP_PROBE, GOOD, 8080) == "ConnectionRefusedError"
    t.policy.allow("port.test:80,8080")
    assert t.curl("--resolve", f"port.test:8080:{GOOD}", "http://port.test:8080/")[1] == 200
    assert len([k for k in t.world.counts() if k.startswith("dns ")]) == 1


@case
def names_that_carry_data(t):
    t.policy.allow("*.wild.test")
    assert t.addresses("a.a.wild.test") == [WILD]
    carriers = ("a." * 20 + "wild.test", "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".wild.test")
    for name in carriers:
        assert "NXDOMAIN" in t.dig(name), name
        assert f"dns {name} 1" not in t.world.counts()
    told = t.denied_because("a name that is too long", "a name of too many labels")
    assert {e["reason"] for e in told if e["name"] in carriers} == {"a name that is too long", "a name of too many labels"}, told


@case
def presets_are_rules(t):
    t.policy.allow("preset:mirrors", presets={"mirrors": ["allowed.test", "*.wild.test:443"]})
    assert t.curl("https://allowed.test/")[1] == 200
    assert t.curl("https://a.wild.test/")[1] == 200
    assert t.curl("http://a.wild.test/")[0] != 0
    assert {e["rule"] for e in t.policy.take_events() if e.get("verdict") == "allow"} == {"preset:mirrors"}
    msg = t.policy.ask("policy.set", rules=["preset:x"], presets={"x": ["preset:mirrors"]})
    assert msg["error"]["type"] == "invalid-rule", msg
    assert t.curl("https://allowed.test/")[1] == 200


@case
def many_rules(t):
    t.policy.allow(*[f"n{i}.example" for i in range(9990)], "allowed.test", *[f"203.0.113.{i}:22/tcp" for i in range(8)])
    assert t.curl("https://allowed.test/")[1] == 200
    assert "NXDOMAIN" in t.dig("evil.test")
    msg = t.policy.ask("policy.set", rules=[f"11.{i >> 8}.{i & 255}.0/24:22/tcp" for i in range(4096)])
    assert "ok" in msg, msg
    msg = t.policy.ask("policy.set", rules=[f"11.{i >> 8}.{i & 255}.0/24:22/tcp" for i in range(4097)])
    assert msg["error"]["type"] == "limit-reached", msg
