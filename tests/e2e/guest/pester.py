#!/usr/bin/env python3
"""Tries without a pause to get to evil.test, which was never allowed, and to bank.test, which was; /tmp/pester says how many
rounds that were."""
import os
import socket
import time

from packets import Link, client_hello, icmp, ipv4, tcp, udp

EVIL, BANK, ME = "198.51.100.66", "203.0.113.20", "10.0.2.15"
link = Link("eth0", "10.0.2.2")
n = 0


def attempt(f, *args):
    try:
        f(*args)
    except OSError:
        pass


def connect(address):
    with socket.socket() as s:
        s.settimeout(1)
        s.connect((address, 443))
        s.sendall(client_hello(b"bank.test"))
        s.recv(10)


def ask(name):
    question = b"\0\7\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(x)]) + x for x in name.split(b".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(question, ("10.0.2.2", 53))
        s.recv(512)


while True:
    attempt(link.send, ipv4(ME, EVIL, 17, udp(ME, EVIL, 4000, 9999, b"hi")))
    attempt(link.send, ipv4(ME, EVIL, 1, icmp(8)))
    attempt(link.send, ipv4(ME, EVIL, 6, tcp(ME, EVIL, 4000 + n % 1000, 443, 2)))
    attempt(link.send, ipv4(ME, BANK, 6, tcp(ME, BANK, 5000 + n % 1000, 80, 2)))
    attempt(connect, EVIL)
    attempt(ask, b"bank.test")
    attempt(connect, BANK)
    n += 1
    with open("/tmp/pester.new", "w") as f:
        f.write("%d\n" % n)
    os.rename("/tmp/pester.new", "/tmp/pester")
    time.sleep(0.02)
