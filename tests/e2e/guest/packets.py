"""Packets made by hand: IPv4, TCP, UDP, ICMP, SCTP, a TLS ClientHello; and the means to send them as root."""
import fcntl
import os
import socket
import struct


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ipv4(src, dst, proto, payload, options=b"", fragment=0):
    """fragment: the field of that name, flags and offset in 8 bytes."""
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), 0x1234, fragment, 64, proto, 0,
                       socket.inet_aton(src), socket.inet_aton(dst)) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def with_checksum(src, dst, proto, segment, at):
    pseudo = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack(">BBH", 0, proto, len(segment))
    return segment[:at] + struct.pack(">H", checksum(pseudo + segment)) + segment[at + 2:]


def tcp(src, dst, sport, dport, flags, payload=b"", options=b""):
    """flags: F=1 S=2 R=4 P=8 A=16 U=32."""
    head = struct.pack(">HHIIBBHHH", sport, dport, 1000, 1 if flags & 16 else 0, (5 + len(options) // 4) << 4, flags, 64000, 0, 0) + options
    return with_checksum(src, dst, 6, head + payload, 16)


def udp(src, dst, sport, dport, payload):
    return with_checksum(src, dst, 17, struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload, 6)


def icmp(kind, payload=b"\0\1\0\1hello!"):
    head = struct.pack(">BBH", kind, 0, 0) + payload
    return head[:2] + struct.pack(">H", checksum(head)) + head[4:]


def sctp_init(dport):
    def crc32c(data):
        crc = 0xffffffff
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        return crc ^ 0xffffffff
    head = struct.pack(">HHII", 5000, dport, 0, 0)
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    return head[:8] + struct.pack("<I", crc32c(head + chunk)) + chunk


def ipv6(src, dst, proto, payload):
    head = struct.pack(">IHBB", 6 << 28, len(payload), proto, 64) + socket.inet_pton(10, src) + socket.inet_pton(10, dst)
    return head + payload


def client_hello(*names, extra=b""):
    """A record with a ClientHello whose server name extension lists these names (bytes); none: without it."""
    def vector(data, size=2):
        return len(data).to_bytes(size, "big") + data
    extensions = struct.pack(">H", 10) + vector(vector(struct.pack(">HH", 29, 23)))
    extensions += struct.pack(">H", 13) + vector(vector(struct.pack(">HHH", 0x0403, 0x0804, 0x0401)))
    extensions += struct.pack(">H", 11) + vector(vector(b"\0", 1)) + extra
    if names:
        extensions += struct.pack(">H", 0) + vector(vector(b"".join(b"\0" + vector(n) for n in names)))
    body = struct.pack(">H", 0x0303) + os.urandom(32) + vector(b"", 1) + vector(struct.pack(">HH", 0xc02b, 0xc02f)) + vector(b"\0", 1) + vector(extensions)
    message = b"\1" + vector(body, 3)
    return b"\x16\3\1" + vector(message)


class Link:
    """The device that leads out, below IP."""

    def __init__(self, device, gateway):
        self.device, self.gateway = device, gateway
        with socket.socket() as s:  # /sys may show another namespace's devices
            request = fcntl.ioctl(s, 0x8927, struct.pack("256s", device.encode()))  # SIOCGIFHWADDR
        self.address = request[18:24].hex(":")

    @staticmethod
    def mac(text):
        return bytes.fromhex(text.replace(":", ""))

    def gateway_mac(self):
        for line in open("/proc/net/arp").read().splitlines()[1:]:
            fields = line.split()
            if fields[0] == self.gateway and fields[3] != "00:00:00:00:00:00":
                return fields[3]
        return "ff:ff:ff:ff:ff:ff"

    def send(self, packet, kind=0x0800, source=None, to=None):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((self.device, 0))
            s.send(self.mac(to or self.gateway_mac()) + self.mac(source or self.address) + struct.pack(">H", kind) + packet)

    def who_has(self, address, sender, seconds=1):
        """The MAC address that answers for this address."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as s:
            s.bind((self.device, 0x0806))
            s.settimeout(seconds)
            me = self.mac(self.address)
            s.send(b"\xff" * 6 + me + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + me + socket.inet_aton(sender) + b"\0" * 6 + socket.inet_aton(address))
            try:
                while True:
                    d = s.recv(100)
                    if d[20:22] == b"\0\2" and d[28:32] == socket.inet_aton(address):
                        return d[22:28].hex(":")
            except OSError:
                return ""
