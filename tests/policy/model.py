"""What rules mean, said once more in a few lines; and agents whose policies change at random beside it.

Every agent is two namespaces, a real berth-policy with its control channel, and a process in the guest's namespace that
asks and connects. What berthd does (lists of rules, restarts, starting what has died) is played here.
"""
import json
import os
import random
import shutil
import signal
import socket
import struct

from world import GATE, GUEST, MODEL_NAMES, ZONE, Namespace, Policy, name_at, sh, wire

PORTS = (80, 8080)
DEFAULT_PORTS = {80, 443}
RULE_NAMES = MODEL_NAMES + ["*.m.test", "*.x.m.test", "*.y.m.test", "*.c.x.m.test"]
RULE_PORTS = ("", "", ":80", ":8080", ":80,8080")


def parse(rule):
    """(deny, wildcard, labels, ports); no ports: of a deny, all of them."""
    deny = rule.startswith("deny ")
    name, _, ports = rule.removeprefix("deny ").partition(":")
    wildcard = name.startswith("*.")
    ports = {int(p) for p in ports.split(",")} if ports else set() if deny else DEFAULT_PORTS
    return deny, wildcard, name.removeprefix("*.").split("."), ports


def matches(rule, name, port):
    deny, wildcard, labels, ports = parse(rule)
    have = name.split(".")
    if (len(have) <= len(labels)) if wildcard else (len(have) != len(labels)):
        return False
    return have[-len(labels):] == labels and (port in ports or deny and not ports)


def allowed(rules, mode, name, port):
    if any(r.startswith("deny ") and matches(r, name, port) for r in rules):
        return False
    return mode == "learn" or any(not r.startswith("deny ") and matches(r, name, port) for r in rules)


def ask_name(name):
    """(rcode, addresses) of the agent's resolver."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(30)
        s.connect((GATE, 53))
        ident = os.urandom(2)
        s.send(ident + b"\1\0\0\1\0\0\0\0\0\0" + wire(name) + b"\0\1\0\1")
        data = s.recv(2000)
    assert data[:2] == ident
    n, (_, at) = struct.unpack(">H", data[6:8])[0], name_at(data, 12)
    return data[3] & 15, [socket.inet_ntoa(data[-4 - 16 * i:][:4]) for i in range(n)] if at and n <= 1 else []


def fetch(addr, port, name, path):
    """The answer's status and body, or what else came of it."""
    try:
        with socket.create_connection((addr, port), 30) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}{'' if port == 80 else f':{port}'}\r\nConnection: close\r\n\r\n".encode())
            data = b""
            while (more := s.recv(4096)):
                data += more
                head, _, body = data.partition(b"\r\n\r\n")
                if body.endswith(b"\n"):
                    break
        return head.split(b" ")[1].decode() + " " + body.decode() if data else "closed"
    except OSError as e:
        return type(e).__name__


def answer_questions(end):
    """The guest: one JSON line in, one out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with end.makefile("rw") as f:
        for line in f:
            q = json.loads(line)
            rcode, addrs = ask_name(q["name"])
            print(json.dumps([rcode, addrs, fetch(q["addr"], q["port"], q["name"], q["path"])]), file=f, flush=True)
    os._exit(0)


class Agent:
    """Has what Policy wants of a world: a folder, and the agent's namespace."""

    def __init__(self, top, number, program):
        self.folder, self.program, self.number = f"{top}/a{number}", program, number
        os.makedirs(f"{self.folder}/state/run/service")
        os.chmod(self.folder, 0o755)
        mine, end = socket.socketpair()
        self.agent, self.guest = Namespace(), Namespace(lambda: answer_questions(end))
        end.close()
        self.talk = mine.makefile("rw")
        mine.close()
        self.wire()
        self.rules, self.mode, self.asked = [], "enforce", 0
        self.policy = Policy(self, program)
        self.apply()

    def wire(self):
        sh("ip", "link", "add", "tap0", "netns", str(self.agent.pid), "type", "veth", "peer", "name", "eth0", "netns", str(self.guest.pid))
        for ns, dev, addr, last in ((self.agent, "tap0", GATE, ""), (self.guest, "eth0", GUEST, f"route add default via {GATE}\n")):
            sh(*ns.command("ip", "-batch", "-"), input=f"link set lo up\naddr add {addr}/24 dev {dev}\nlink set {dev} up\n{last}")

    def apply(self):
        msg = self.policy.ask("policy.set", rules=self.rules, mode=self.mode)
        assert "ok" in msg, (self.rules, self.mode, msg)

    def question(self, name, port):
        """What came of it; raises where that is not what the model says."""
        self.asked += 1
        path, addr = f"/a{self.number}/{self.asked}", ZONE[name][0][0]
        print(json.dumps({"name": name, "addr": addr, "port": port, "path": path}), file=self.talk, flush=True)
        rcode, addrs, got = json.loads(self.talk.readline())
        want = allowed(self.rules, self.mode, name, port)
        fetched = got == f"200 {name if port == 80 else f'{name}:{port}'} {path} 0\n"
        seen = (f"a{self.number}", name, port, self.mode, self.rules, rcode, addrs, got)
        assert fetched == want and (fetched or not got.startswith("200")), seen
        assert not want or (rcode == 0 and addrs == [addr]), seen
        if not any(allowed(self.rules, self.mode, name, p) for p in (*PORTS, 443)):
            assert rcode == 3, seen
        return fetched

    def pins(self):
        listed = json.loads(self.agent.sh("nft", "-j", "list", "set", "inet", "berth", "pins"))
        elements = next(o["set"].get("elem", []) for o in listed["nftables"] if "set" in o)
        return {tuple(e["elem"]["val"]["concat"]) for e in elements}

    def stray_pins(self):
        """Open addresses that no name of the rules has."""
        may = {(ZONE[n][0][0], p) for n in MODEL_NAMES for p in (*PORTS, 443) if allowed(self.rules, self.mode, n, p)}
        return self.pins() - may

    def kill(self):
        os.kill(random.choice((self.policy.process.pid, self.policy.parser_pid())), signal.SIGKILL)
        self.policy.process.wait(30)
        self.policy.start()
        self.apply()

    def end(self):
        self.policy.end()
        reports = self.policy.reports()
        self.policy.log.close()
        self.policy.listener.close()
        self.talk.close()
        for ns in (self.guest, self.agent):
            ns.end()
        shutil.rmtree(self.folder)
        assert not reports, reports


class Model:
    """Agents, changes, and questions about them. Everything random comes from one seed."""

    def __init__(self, world, program, agents, seed):
        self.world, self.program, self.rng, self.made = world, program, random.Random(seed), 0
        random.seed(seed)
        self.seen, self.fetched, self.changes = {}, {}, {}
        self.agents = [self.new_agent() for _ in range(agents)]
        first = self.agents[0].policy
        self.modes = ["enforce"] + [m for m in ("learn",) if "ok" in first.ask("policy.set", rules=[], mode=m)]
        self.denies = "ok" in first.ask("policy.set", rules=["deny x.m.test"], mode="enforce")
        self.agents[0].apply()

    def new_agent(self):
        self.made += 1
        return Agent(self.world.folder, self.made, self.program)

    def rule(self, deny=False):
        return ("deny " if deny else "") + self.rng.choice(RULE_NAMES) + self.rng.choice(RULE_PORTS)

    def some(self, most, deny=False):
        return [self.rule(deny) for _ in range(self.rng.randint(1, most))]

    def do_allow(self, a):
        a.rules = list(dict.fromkeys(a.rules + self.some(3)))
        a.apply()

    def do_deny(self, a):
        if self.denies:
            a.rules = list(dict.fromkeys(a.rules + self.some(2, True)))
        a.apply()

    def do_remove(self, a):
        a.rules = self.rng.sample(a.rules, self.rng.randint(0, len(a.rules)))
        a.apply()

    def do_set(self, a):
        a.rules = list(dict.fromkeys(self.some(6)))
        a.apply()

    def do_mode(self, a):
        a.mode = self.rng.choice(self.modes)
        a.apply()

    def do_restart_policy(self, a):
        a.kill()

    def do_restart_berthd(self, a):
        """Another berthd takes over: with the rules of the store, which are those in force."""
        a.policy.connect()
        assert a.policy.ask("hello")["ok"]
        a.apply()

    def do_replace(self, a):
        a.end()
        self.agents[self.agents.index(a)] = self.new_agent()

    OPS = (("allow", 30), ("deny", 12), ("remove", 18), ("set", 16), ("mode", 10), ("restart_policy", 4), ("restart_berthd", 6),
           ("replace", 4))

    def ask(self, a):
        name, port = self.rng.choice(MODEL_NAMES), self.rng.choice(PORTS)
        if a.question(name, port):
            key = f"tcp {ZONE[name][0][0]}:{port} {name if port == 80 else f'{name}:{port}'}"
            self.fetched[key] = self.fetched.get(key, 0) + 1

    def change(self):
        a = self.rng.choice(self.agents)
        op = self.rng.choices([o for o, _ in self.OPS], [w for _, w in self.OPS])[0]
        self.changes[op] = self.changes.get(op, 0) + 1
        getattr(self, "do_" + op)(a)
        for asked in [a for a in self.agents if a.number == self.made][:op == "replace"] or [a]:
            for _ in range(2):
                self.ask(asked)
        for other in self.rng.sample(self.agents, 2):
            self.ask(other)

    def check_all(self):
        """What reached the servers is what was to be answered, to the request; no address is open for nobody."""
        self.seen = {k: v for k, v in self.world.counts().items() if k.startswith("tcp ") and ".m.test" in k}
        assert self.seen == self.fetched, (self.seen, self.fetched)
        for a in self.agents:
            stray = a.stray_pins() if a.mode == "enforce" else set()
            assert not stray, (a.number, a.rules, stray)

    def end(self):
        for a in self.agents:
            a.end()
