"""What the way out stands on: name servers that are slow, dead or lie, and proxies."""
import threading
import time

from cases import FAST, case, timed
from world import EVIL, GOOD, NOBODY, PROXY, PUBLIC_DNS, RESOLVER, WILD

LOGIN = {"user": "joe", "password": "s3cret:p"}


def asked(t, name):
    return t.world.counts().get(f"dns {name} 1", 0)


def health(t, part):
    return [e["up"] for e in t.policy.take_events(0) if e["type"] == "upstream" and e["part"] == part]


@case
def answers_are_kept_for_their_time(t):
    t.policy.allow("allowed.test", "quick.test", "nowhere.test", "*.wild.test")
    for _ in range(3):
        assert t.addresses("allowed.test") == [GOOD]
        assert "NXDOMAIN" in t.dig("nowhere.test")
    assert (asked(t, "allowed.test"), asked(t, "nowhere.test")) == (1, 1), t.world.counts()
    for _ in range(3):
        t.dig("quick.test")
    assert asked(t, "quick.test") == 3, "a TTL of 0 is kept"


@case
def lying_name_servers(t):
    """Wrong ids in any number, and answers from another address: what is believed comes from the server that was asked."""
    t.policy.allow("liar.test", "spoofed.test")
    addrs, seconds = timed(t.addresses, "liar.test")
    assert addrs == [GOOD] and seconds < 6, (addrs, seconds)
    assert t.addresses("spoofed.test") == [GOOD]
    assert not t.reached(), t.reached()


@case
def configured_name_servers(t):
    t.policy.allow("allowed.test", "later.test", "port.test")
    t.policy.upstream(resolvers=[PUBLIC_DNS])
    assert t.addresses("allowed.test") == [GOOD]
    assert t.world.counts().get("public dns") == 1
    t.policy.upstream(resolvers=[NOBODY, f"{RESOLVER}:53"])
    assert t.addresses("later.test") == [WILD], "the second one answers"
    _, seconds = timed(t.addresses, "port.test")
    assert seconds < FAST, "the one that answers is asked first"
    for wrong in (["dns.test"], [RESOLVER + ":0"], [RESOLVER] * 4, [7]):
        assert t.policy.ask("upstream.set", resolvers=wrong)["error"]["status"] == 400, wrong
    assert not health(t, "resolvers")


@case
def dead_name_servers_and_back(t):
    t.policy.allow("allowed.test", "later.test")
    t.policy.upstream(resolvers=[NOBODY])
    out, seconds = timed(t.dig, "+time=20", "allowed.test")
    assert "SERVFAIL" in out and seconds < 12, (out, seconds)
    assert health(t, "resolvers") == [False]
    t.policy.upstream(resolvers=[RESOLVER])
    assert t.addresses("later.test") == [WILD]
    assert health(t, "resolvers") == [True]
    deadline = time.time() + 20  # a failure is kept for two seconds
    while t.addresses("allowed.test") != [GOOD]:
        assert time.time() < deadline


def through(t, **proxy):
    t.world.counts(reset=True)
    t.policy.upstream(proxy={"host": PROXY, **proxy})
    assert t.curl("https://allowed.test/")[1] == 200, proxy
    assert t.curl("http://allowed.test/x")[2].startswith("allowed.test /x"), proxy
    return t.world.counts()


@case
def proxies(t):
    t.policy.allow("allowed.test")
    for kind, port, more in (("http", 3128, {}), ("http", 3129, LOGIN), ("socks5", 1080, {}), ("socks5", 1081, LOGIN),
                             ("http", 3128, {"host": "proxy.test"}), ("socks5", 1080, LOGIN)):
        seen = through(t, kind=kind, port=port, **more)
        assert seen[f"proxy to {GOOD}:443"] == 1 and seen[f"proxy to {GOOD}:80"] == 1, seen
        seen = through(t, kind=kind, port=port, names=True, **more)
        assert seen["proxy to allowed.test:443"] == 1 and seen["proxy to allowed.test:80"] == 1, seen
    assert t.curl("https://evil.test/")[0] != 0
    assert not [k for k in t.world.counts() if "evil" in k or EVIL in k]
    t.policy.upstream()
    t.world.counts(reset=True)
    assert t.curl("https://allowed.test/")[1] == 200
    assert not [k for k in t.world.counts() if "proxy" in k]


@case
def a_proxy_is_no_way_to_private_addresses(t):
    t.policy.allow("private.test", "loop.test", "allowed.test")
    t.policy.upstream(proxy={"host": PROXY, "kind": "http", "port": 3128, "names": True})
    for name in ("private.test", "loop.test"):
        assert t.curl(f"http://{name}/")[0] != 0
    assert t.curl("-H", "Host: proxy.test", f"http://{PROXY}:3128/")[0] != 0, "the guest cannot speak to it"
    assert not [k for k in t.world.counts() if "proxy" in k], t.world.counts()


@case
def a_large_download_by_a_proxy(t):
    t.policy.allow("allowed.test")
    t.policy.upstream(proxy={"host": PROXY, "kind": "socks5", "port": 1081, **LOGIN})
    ends = []

    def one():
        ends.append(t.guest("curl", "-sS", "-m", "90", "--cacert", f"{t.world.folder}/ca.crt", "-o", "/dev/null", "-w", "%{size_download}",
                            "https://allowed.test/big", timeout=100).stdout)
    threads = [threading.Thread(target=one) for _ in range(5)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    assert ends == ["10000000"] * 5, ends


FAILING = (
    ("http", 3129, {}, "wants credentials (407)"),
    ("http", 3129, {"user": "joe", "password": "wrong"}, "does not take the credentials (407)"),
    ("socks5", 1081, {}, "wants credentials"),
    ("socks5", 1081, {"user": "joe", "password": "wrong"}, "does not take the credentials"),
    ("http", 3130, {}, "does not answer as HTTP proxies do"),
    ("socks5", 3130, {}, "does not answer as SOCKS5 proxies do"),
    ("socks5", 3132, {}, "closes connections"),
    ("http", 3131, {}, "does not get through in time"),
    ("http", 3133, {}, "cannot be reached"),
)


@case
def failing_proxies(t):
    t.policy.allow("allowed.test", "port.test:8080")
    for kind, port, more, why in FAILING:
        t.policy.upstream(proxy={"host": PROXY, "kind": kind, "port": port, **more})
        t.policy.take_events(0)
        (r, code, body), seconds = timed(t.curl, "http://allowed.test/")
        assert (r, code) == (0, 502) and seconds < 15, (why, r, code, seconds)
        assert "proxy" in body and PROXY not in body and "joe" not in body, body
        # without what came well through before this proxy
        said = [e for e in t.policy.take_events(0) if e["type"] == "egress" and e["protocol"] == "http" and e["reason"]]
        assert said and said[0]["reason"] == f"the proxy {PROXY}:{port} {why}", (why, said)
        assert t.curl("https://allowed.test/", timeout=30)[0] != 0
    for kind, port, why in (("http", 3128, f"does not connect to {GOOD}:8080 (403)"),
                            ("socks5", 1080, "does not allow it (SOCKS5 reply 2)")):
        t.policy.upstream(proxy={"host": PROXY, "kind": kind, "port": port})
        assert t.curl("http://port.test:8080/")[1] == 502
        said = [e for e in t.policy.take_events() if e["type"] == "egress" and e["port"] == 8080]
        assert said[0]["reason"] == f"the proxy {PROXY}:{port} {why}", said
    assert not t.reached(f"tcp {PROXY}:", "proxy to"), "it went around the proxy"


@case
def a_proxy_that_fails_and_comes_back(t):
    t.policy.allow("allowed.test")
    health(t, "proxy")
    t.policy.upstream(proxy={"host": PROXY, "kind": "http", "port": 3128})
    assert t.curl("https://allowed.test/")[1] == 200
    t.policy.take_events(0)
    t.policy.upstream(proxy={"host": PROXY, "kind": "http", "port": 3133})
    assert t.curl("https://allowed.test/")[0] != 0
    assert t.curl("https://allowed.test/")[0] != 0
    assert health(t, "proxy") == [False]
    t.policy.upstream(proxy={"host": PROXY, "kind": "http", "port": 3128})
    assert t.curl("https://allowed.test/")[1] == 200
    assert health(t, "proxy") == [True]
    for wrong in ({"kind": "https"}, {"port": 0}, {"user": "x" * 256}, {"host": ""}, {"extra": 1}):
        msg = t.policy.ask("upstream.set", proxy={"host": PROXY, "kind": "http", "port": 3128, **wrong})
        assert msg.get("error", {}).get("status") == 400, (wrong, msg)
