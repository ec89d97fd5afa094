"""A guest image under QEMU in a network namespace of its own, and the guest channel spoken by hand."""
import base64
import ctypes
import hashlib
import json
import mmap
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
QEMU = os.environ.get("BERTH_TEST_QEMU", "qemu-system-x86_64").split()
GUEST, HOST, CHANNEL, CDP = "10.0.2.15", "10.0.2.2", 700, 701
GUEST_MAC, HOST_MAC = "52:54:00:be:00:15", "52:54:00:be:00:02"
CONTROL, EXEC = 1, 2
CONFIG, PING, SHUTDOWN, BROWSER_RESTART = 1, 2, 3, 4
READY, PONG, BROWSER, LOG = 0x81, 0x82, 0x83, 0x84
START, STDIN, SIGNAL, WINSIZE = 0x10, 0x11, 0x12, 0x13
STARTED, FAILED, STDOUT, STDERR, EXIT = 0x90, 0x91, 0x92, 0x93, 0x94
STARTING, UP, DOWN, GAVE_UP = 0, 1, 2, 3


def tsc_khz():
    """Frequency of this machine's time stamp counter, which is also TCG's."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    t, c = time.monotonic_ns(), rdtsc()
    time.sleep(0.05)
    t2, c2 = time.monotonic_ns(), rdtsc()
    return (c2 - c) * 1000000 // (t2 - t)


def run(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


class Closed(Exception):
    """The guest has closed the connection."""


class Channel:
    """One connection of the guest channel."""

    def __init__(self, sock, kind, version=1, magic=b"BRTH"):
        self.sock, self.buf = sock, b""
        self.sock.settimeout(240)
        self.sock.sendall(magic + bytes([version, kind, 0, 0]))
        head = self._read(8)
        assert head[:4] == b"BRTH" and head[4] == 1 and head[6:] == b"\0\0", head
        self.status = head[5]

    def _read(self, n):
        while len(self.buf) < n:
            try:
                got = self.sock.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                raise Closed
            self.buf += got
        r, self.buf = self.buf[:n], self.buf[n:]
        return r

    def send(self, kind, payload=b""):
        self.sock.sendall(struct.pack("<IB3x", len(payload), kind) + payload)

    def recv(self, timeout=240):
        self.sock.settimeout(timeout)
        n, kind, zero = struct.unpack("<IB3s", self._read(8))
        assert n <= 65536 and zero == b"\0\0\0", (n, zero)
        return kind, self._read(n)

    def close(self):
        self.sock.close()


class Result:
    """What a command did."""

    def __init__(self):
        self.out, self.err, self.status, self.signal, self.failed = b"", b"", None, None, None


class Guest:
    """The VM and its namespace. `folder` holds the agent's disk over several boots."""

    def __init__(self, image, folder, name="berth-guest-test", memory=1024, append=""):
        self.image, self.folder, self.name, self.memory, self.append = image, folder, f"{name}-{os.getpid()}", memory, append
        self.disk = os.path.join(folder, "disk.qcow2")
        self.console = os.path.join(folder, "console.log")
        self.proc, self.control, self.browser, self.logs = None, None, [], []
        run("ip", "netns", "add", self.name)
        for cmd in ("link set lo up", "tuntap add tap0 mode tap", f"link set tap0 address {HOST_MAC}",
                    f"addr add {HOST}/24 dev tap0", "link set tap0 up",
                    f"neigh replace {GUEST} lladdr {GUEST_MAC} dev tap0 nud permanent"):
            run("ip", "netns", "exec", self.name, "ip", *cmd.split())
        if not os.path.exists(self.disk):
            run("qemu-img", "create", "-q", "-f", "qcow2", self.disk, "8G")

    def in_namespace(self, fn):
        old, ns = os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/run/netns/" + self.name, os.O_RDONLY)
        try:
            if LIBC.setns(ns, CLONE_NEWNET) < 0:
                raise OSError(ctypes.get_errno(), "setns")
            return fn()
        finally:
            LIBC.setns(old, CLONE_NEWNET)
            os.close(old)
            os.close(ns)

    def socket(self):
        return self.in_namespace(socket.socket)

    def connect(self, port, deadline=300):
        end = time.monotonic() + deadline
        while True:
            s = self.socket()
            s.settimeout(1)
            try:
                s.connect((GUEST, port))
                s.settimeout(240)
                return s
            except OSError:
                s.close()
                if self.proc.poll() is not None:
                    raise AssertionError(f"QEMU ended with {self.proc.returncode}: {self.console_text()}") from None
                if time.monotonic() > end:
                    raise AssertionError(f"no answer on port {port}: {self.console_text()}") from None
                time.sleep(0.01)

    def console_text(self):
        with open(self.console, errors="replace") as f:
            return f.read()[-3000:]

    def start(self):
        accel = os.environ.get("BERTH_TEST_ACCEL", "tcg,thread=multi,tb-size=256")
        self.started = time.monotonic()
        # Without its frequency the kernel measures the counter against an emulated PIT, and on a busy host gives up and hangs.
        khz = tsc_khz()
        clock = f"tsc=reliable no_timer_check tsc_early_khz={khz} lpj={khz * 4}" if accel.startswith("tcg") else ""
        argv = ["ip", "netns", "exec", self.name, *QEMU, "-M", "microvm,acpi=on,rtc=on", "-accel", accel,
                "-cpu", "max", "-m", str(self.memory), "-smp", "2", "-nodefaults", "-no-user-config", "-display", "none",
                "-no-reboot", "-kernel", f"{self.image}/vmlinuz", "-initrd", f"{self.image}/initrd.img",
                "-append", f"quiet panic=-1 mitigations=off console=ttyS0 {clock} {self.append}".strip(),
                "-serial", f"file:{self.console}",
                "-drive", f"id=disk,file={self.disk},if=none,format=qcow2", "-device", "virtio-blk-device,drive=disk",
                "-drive", f"id=root,file={self.image}/rootfs.erofs,if=none,format=raw,readonly=on",
                "-device", "virtio-blk-device,drive=root",
                "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
                "-device", f"virtio-net-device,netdev=net,mac={GUEST_MAC}"]
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def configure(self, hostname="agent-one", browser=True, width=1280, height=800):
        """Opens the control connection and sends CONFIG; the contents of READY."""
        self.control = Channel(self.connect(CHANNEL), CONTROL)
        assert self.control.status == 0
        self.control.send(CONFIG, struct.pack("<q64s16s64sIII12x", time.time_ns(), os.urandom(64),
                                              hashlib.md5(hostname.encode()).digest(), hostname.encode(),
                                              1 if browser else 0, width, height))
        kind, p = self.control.recv()
        assert kind == READY and len(p) == 88, (kind, p)
        version, kernel_ms, init_ms, fresh, kernel = struct.unpack("<IIII64s8x", p)
        return {"version": version, "kernel_ms": kernel_ms, "init_ms": init_ms, "fresh": fresh,
                "kernel": kernel.rstrip(b"\0").decode()}

    def boot(self, **kw):
        self.start()
        return self.configure(**kw)

    def wait_control(self, kind, timeout=240):
        """The next frame of that kind; browser states and log lines are kept on the way."""
        while True:
            k, p = self.control.recv(timeout)
            if k == BROWSER:
                self.browser.append(struct.unpack("<IIII", p))
            elif k == LOG:
                self.logs.append((p[0], p[1:].decode(errors="replace")))
            if k == kind:
                return p

    def wait_browser(self, state, timeout=240):
        while True:
            got = struct.unpack("<IIII", self.wait_control(BROWSER, timeout))
            if got[0] == state:
                return got

    def ping(self):
        self.control.send(PING, struct.pack("<Q", 77))
        got = struct.unpack("<5Q4I", self.wait_control(PONG))
        assert got[0] == 77
        return dict(zip(("cookie", "uptime_ms", "memory_available_kib", "disk_free_kib", "disk_total_kib", "browser_state",
                         "browser_restarts", "execs", "reserved"), got))

    def exec_start(self, argv, user="", cwd="", env=(), tty=None):
        c = Channel(self.connect(CHANNEL), EXEC)
        assert c.status == 0, c.status
        rows, columns = tty or (0, 0)
        words = [user, cwd, *argv, *env]
        c.send(START, struct.pack("<IHHHH", 1 if tty else 0, rows, columns, len(argv), len(env)) +
               b"".join((w if isinstance(w, bytes) else w.encode()) + b"\0" for w in words))
        return c

    @staticmethod
    def exec_wait(c, timeout=240):
        r = Result()
        while True:
            kind, p = c.recv(timeout)
            if kind == STDOUT:
                r.out += p
            elif kind == STDERR:
                r.err += p
            elif kind == FAILED:
                r.failed = (struct.unpack("<I", p[:4])[0], p[4:].decode())
                break
            elif kind == EXIT:
                r.status, r.signal = struct.unpack("<II", p)
                break
            else:
                assert kind == STARTED, kind
        c.close()
        return r

    def exec(self, *argv, stdin=None, timeout=240, **kw):
        c = self.exec_start(argv, **kw)
        for at in range(0, len(stdin or b""), 32768):
            c.send(STDIN, stdin[at:at + 32768])
        c.send(STDIN)
        return self.exec_wait(c, timeout)

    def http(self, path, method="GET"):
        s = self.connect(CDP)
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head, _, body = s.recv(65536).partition(b"\r\n\r\n")
        length = [int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length:")][0]
        while len(body) < length:
            body += s.recv(65536)
        s.close()
        assert b" 200 " in head.split(b"\r\n")[0], head
        return json.loads(body)

    def shutdown(self, timeout=240):
        """SHUTDOWN; QEMU must end by itself. Seconds it took."""
        t = time.monotonic()
        self.control.send(SHUTDOWN)
        status = self.proc.wait(timeout)
        assert status == 0, f"QEMU ended with {status}"
        self.control.close()
        return time.monotonic() - t

    def kill(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
        if self.proc:
            self.proc.wait()

    def done(self):
        self.kill()
        subprocess.run(["ip", "netns", "del", self.name], check=False)


class Page:
    """The least WebSocket client that drives one page."""

    def __init__(self, guest, path=None):
        self.guest, self.buf, self.n = guest, b"", 0
        if path is None:
            url = [t for t in guest.http("/json") if t["type"] == "page"][0]["webSocketDebuggerUrl"]
            path = "/devtools/" + url.split("/devtools/")[1]
        self.sock = guest.connect(CDP)
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall((f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.buf:
            self.buf += self.sock.recv(4096)
        head, _, self.buf = self.buf.partition(b"\r\n\r\n")
        assert b" 101 " in head, head

    def _read(self, n):
        while len(self.buf) < n:
            got = self.sock.recv(1 << 20)
            if not got:
                raise Closed
            self.buf += got
        r, self.buf = self.buf[:n], self.buf[n:]
        return r

    def _message(self):
        whole = b""
        while True:
            first, second = self._read(2)
            n = second & 127
            if n == 126:
                n = struct.unpack(">H", self._read(2))[0]
            elif n == 127:
                n = struct.unpack(">Q", self._read(8))[0]
            whole += self._read(n)
            if first & 0x80:
                return whole

    def call(self, method, **params):
        self.n += 1
        d = json.dumps({"id": self.n, "method": method, "params": params}).encode()
        size = struct.pack(">BBH", 0x81, 0xFE, len(d)) if len(d) < 65536 else struct.pack(">BBQ", 0x81, 0xFF, len(d))
        self.sock.sendall(size + b"\0\0\0\0" + d)
        while True:
            r = json.loads(self._message())
            if r.get("id") == self.n:
                assert "error" not in r, r
                return r["result"]

    def eval(self, expression):
        r = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in r, r
        return r["result"].get("value")

    def go(self, url):
        """Navigates and waits for the load; the error text, if any."""
        r = self.call("Page.navigate", url=url)
        for _ in range(6000):
            if self.eval("document.readyState") == "complete":
                break
            time.sleep(0.05)
        return r.get("errorText")


def scratch():
    folder = tempfile.mkdtemp(prefix="berth-guest-")
    return folder, lambda: shutil.rmtree(folder, ignore_errors=True)
