"""Upstream DNS servers that lie, dawdle or break off: what some names of the test internet are answered with.

Each takes a Question and gives a list of packets, or of (seconds, from, packet): after a while, from another address. By
TCP a packet goes out with its length in front, unless it is Raw.
"""
import os
import socket
import struct

GOOD, EVIL, LIAR = "203.0.113.10", "203.0.113.66", "8.8.8.8"


class Raw(bytes):
    """Sent by TCP as it is; the connection is closed behind it."""


def wire(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"


def record(owner, addr, ttl=300):
    return wire(owner) + struct.pack(">HHIH", 1, 1, ttl, 4) + socket.inet_aton(addr)


def alias(owner, target, ttl=300):
    return wire(owner) + struct.pack(">HHIH", 5, 1, ttl, len(wire(target))) + wire(target)


class Question:
    def __init__(self, ident, asked, question, tcp):
        self.ident, self.asked, self.question, self.tcp = ident, asked, question, tcp

    def packet(self, *answers, flags=0, authority=(), additional=(), ident=None, question=None):
        counts = struct.pack(">HHHHH", 0x8180 | flags, 1, len(answers), len(authority), len(additional))
        return (ident or self.ident) + counts + (question or self.question) + b"".join((*answers, *authority, *additional))

    def good(self, **kw):
        return self.packet(record(self.asked, GOOD), **kw)

    def lie(self, **kw):
        return self.packet(record(self.asked, EVIL), **kw)


def forged(q):
    """Wrong id, wrong question, rubbish, then the truth."""
    other = wire("evil.test") + b"\0\1\0\1"
    return [q.lie(ident=bytes([q.ident[0] ^ 1, q.ident[1]])), q.packet(record("evil.test", EVIL), question=other),
            q.ident + b"\x81\x80\xff\xff", q.good()]


def guesser(q):
    """Guesses at the id by UDP, and nothing right among them."""
    return [q.good()] if q.tcp else [q.lie(ident=bytes([q.ident[0] ^ 1, i])) for i in range(40)]


def spoofed(q):
    """Right in everything but where it comes from."""
    return [q.good()] if q.tcp else [(0, (LIAR, 53), q.lie()), (0, ("192.0.2.53", 5354), q.lie()), (0.4, None, q.good())]


def poisoned(q):
    """Records about names that nobody has asked for, in every section."""
    others = [record(n, EVIL) for n in ("later.test", "allowed.test", "evil.test")]
    ns = wire("test") + struct.pack(">HHIH", 2, 1, 300, len(wire("later.test"))) + wire("later.test")
    return [q.packet(others[0], record(q.asked, GOOD), others[1], authority=[ns], additional=others)]


def chain(q):
    """Aliases without end."""
    names = [q.asked] + [f"c{i}.chain.test" for i in range(60)]
    return [q.packet(*(alias(a, b) for a, b in zip(names, names[1:])), record(names[-1], EVIL))]


def loop(q):
    return [q.packet(alias(q.asked, "b.loops.test"), alias("b.loops.test", q.asked), record("c.loops.test", EVIL))]


def itself(q):
    return [q.packet(alias(q.asked, q.asked), record(q.asked, GOOD))]


def truncated(q):
    return q.packet(flags=0x200)


def huge(q):
    """By TCP as long as a packet can be: many addresses, and zeroes behind them."""
    short = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + bytes([198, 51, 100, 100 + i % 40]) for i in range(2000)]
    packet = q.packet(*short)
    return [packet + b"\0" * (65535 - len(packet))] if q.tcp else [truncated(q)]


def huge_good(q):
    """As long as it can be without a byte too much."""
    room = 65535 - len(q.packet())
    short = [b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + bytes([198, 51, 100, 100 + i % 40]) for i in range(room // 16)]
    return [q.packet(*short)] if q.tcp else [truncated(q)]


def huge_datagram(q):
    return [q.good()[:-16] + os.urandom(60000)]


def again_truncated(q):
    return [truncated(q)]


def cut(q):
    return [Raw(struct.pack(">H", 500) + q.lie()[:20])] if q.tcp else [truncated(q)]


def promised(q):
    """The longest there is, of which little comes."""
    return [Raw(struct.pack(">H", 65535) + q.lie())] if q.tcp else [truncated(q)]


def rubbish(q):
    return [q.ident + os.urandom(n) for n in (1, 10, 100, 400)]


def slow(q):
    return [(0.8, None, q.good())]


def late(q):
    return [(2.6, None, q.good())]


def many(q):
    """n123.full.test: sixteen addresses of its own."""
    n = int(q.asked.split(".")[0][1:])
    return [q.packet(*(record(q.asked, f"9.{n >> 8}.{n & 255}.{i}") for i in range(1, 17)))]


LIES = {"forged.test": forged, "liar.test": guesser, "spoofed.test": spoofed, "poisoned.test": poisoned, "chain.test": chain, "loops.test": loop,
        "itself.test": itself, "huge.test": huge, "hugegood.test": huge_good, "hugedatagram.test": huge_datagram,
        "againtruncated.test": again_truncated, "cut.test": cut, "promised.test": promised, "rubbish.test": rubbish,
        "slow.test": slow, "late.test": late}


def liar(name):
    return many if name.endswith(".full.test") else LIES.get(name)
