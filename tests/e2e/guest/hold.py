#!/usr/bin/env python3
"""Holds a WebSocket open and sends on it several times a second; /tmp/hold.NAME says how far it came, and why it ended.

usage: hold.py NAME"""
import os
import socket
import sys
import time

name = sys.argv[1]


def say(text):
    with open("/tmp/hold.%s.new" % name, "w") as f:
        f.write(text + "\n")
    os.rename("/tmp/hold.%s.new" % name, "/tmp/hold.%s" % name)


n = 0
try:
    with socket.create_connection((name, 80), 30) as s:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" % name.encode())
        if b" 101 " not in s.recv(4096):
            raise OSError("no WebSocket")
        while True:
            s.sendall(b"\x81\x84\0\0\0\0tick")
            if not s.recv(4096):
                raise OSError("closed")
            n += 1
            say("alive %d" % n)
            time.sleep(0.2)
except OSError as e:
    say("ended %d %r" % (n, e))
