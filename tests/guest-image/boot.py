#!/usr/bin/env python3
"""Boots a guest image for real and tries everything berth-init promises. usage: boot.py IMAGE-FOLDER [TEST]... (root; TAP)"""
import base64
import http.server
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
import zlib

from guestvm import (BROWSER, BROWSER_RESTART, CDP, CHANNEL, CONTROL, DOWN, EXEC, EXIT, GAVE_UP, GUEST, HOST, PING, SIGNAL,
                     STARTED, STARTING, STDIN, STDOUT, UP, WINSIZE, Channel, Closed, Guest, Page, scratch)

PAGE = """<!doctype html><meta charset=utf-8><title>ok</title><body style="margin:0;background:#1e90ff">
<p style="font-size:40px">Latin Ünïcødé &nbsp; العربية &nbsp; 中文字 &nbsp; 日本語かな &nbsp; 한국어 &nbsp; 😀🎉🇫🇷👩‍🚀</p>""".encode()
# One character of each script, and whether it has colours of its own.
SCRIPTS = {"é": False, "Ж": False, "Ω": False, "ع": False, "ש": False, "中": False, "あ": False, "한": False, "ह": False, "ไ": False,
           "€": False, "😀": True, "🎉": True}
# A character drawn black on white: its pixels as text, and whether any of them is neither grey nor white.
DRAW = """c => { const e = document.createElement('canvas'); e.width = e.height = 64; const x = e.getContext('2d');
x.fillStyle = '#fff'; x.fillRect(0, 0, 64, 64); x.fillStyle = '#000'; x.font = '40px sans-serif'; x.fillText(c, 4, 48);
const d = x.getImageData(0, 0, 64, 64).data; let colour = false;
for (let i = 0; i < d.length; i += 4) colour ||= Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 60;
return [d.join(), colour]; }"""
LATEST_S = 12  # what is older than that when the plug is pulled must be there; 3 to 5 on an idle machine
TESTS = []


def test(fn):
    TESTS.append(fn)
    return fn


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *args):
        pass


class World:
    """What the tests share: the guest, web servers on the host's side of its tap, a CA."""

    def __init__(self, image):
        self.folder, self.clean = scratch()
        self.g = Guest(image, self.folder)
        self.make_ca()
        self.serve(80, None)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder + "/site.crt", self.folder + "/site.key")
        self.serve(443, context)

    def make_ca(self):
        f = self.folder

        def openssl(*argv):
            subprocess.run(["openssl", *argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=f)

        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out",
                "ca.crt", "-days", "30", "-subj", "/CN=berth boot test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "site.key", "-out", "site.csr",
                "-subj", "/CN=site")
        with open(f + "/ext", "w", encoding="ascii") as e:
            e.write(f"subjectAltName=IP:{HOST}\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "site.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "20", "-extfile",
                "ext", "-out", "site.crt")

    def serve(self, port, context):
        s = self.g.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((HOST, port))
        s.listen(16)
        server = http.server.ThreadingHTTPServer((HOST, port), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = context.wrap_socket(s, server_side=True) if context else s
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def done(self):
        self.g.done()
        self.clean()


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def until(what, holds, seconds=120):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def root(w, command, **kw):
    r = w.g.exec("sh", "-c", command, user="root", **kw)
    assert r.status == 0, (command, r.status, r.signal, r.failed, r.out, r.err)
    return r.out.decode()


@test
def first_boot(w):
    ready = w.g.boot(hostname="boot-test")
    channel = time.monotonic() - w.g.started
    equal((ready["version"], ready["fresh"]), (1, 1))
    assert re.match(r"6\.\d+\.", ready["kernel"]), ready
    equal(w.g.wait_browser(STARTING), (STARTING, 0, 0, 0))
    equal(w.g.wait_browser(UP)[1:], (0, 0, 0))
    w.g.http("/json/version")
    print(f"# cold boot, disk made anew: kernel {ready['kernel_ms']} ms, init {ready['init_ms']} ms, channel after {channel:.1f} s, "
          f"first CDP answer after {time.monotonic() - w.g.started:.1f} s")


@test
def ping(w):
    p = w.g.ping()
    equal((p["browser_state"], p["browser_restarts"], p["execs"]), (UP, 0, 0))
    assert 100 * 1024 < p["memory_available_kib"] < 1024 * 1024, p
    assert 6 << 20 < p["disk_free_kib"] <= p["disk_total_kib"] <= 8 << 20, p
    assert p["uptime_ms"] > 1000, p


@test
def chromium_starts_quietly(w):
    said = [text for source, text in w.g.logs if source == 1]
    if "--headless=new" in root(w, "tr '\\0' ' ' </proc/$(pgrep -o chromium)/cmdline"):
        # On a slow start it ends its network service once and starts it again, and says so.
        said = [text for text in said if "Network service crashed or was terminated" not in text]
    equal(said, [])


@test
def identity(w):
    equal(root(w, "hostname; cat /etc/hostname").split(), ["boot-test"] * 2)
    assert "127.0.1.1 boot-test" in root(w, "cat /etc/hosts")
    equal(len(root(w, "cat /etc/machine-id").strip()), 32)
    assert abs(int(root(w, "date +%s")) - time.time()) < 30
    equal(root(w, "cat /etc/resolv.conf").split()[:2], ["nameserver", HOST])
    out = root(w, "ip -br addr; ip route; ip neigh")
    assert f"{GUEST}/24" in out and f"default via {HOST} dev eth0" in out and "PERMANENT" in out, out


@test
def mounts(w):
    out = root(w, "findmnt -rno TARGET,FSTYPE,OPTIONS")
    for want in ("/ overlay", "/home/agent ext4", "/proc proc", "/sys sysfs", "/dev devtmpfs", "/dev/pts devpts", "/dev/shm tmpfs",
                 "/tmp tmpfs", "/sys/fs/cgroup cgroup2"):
        assert re.search(f"^{want} ", out, re.M), (want, out)
    equal(w.g.exec("ls", "/run/berth/disk").status, 2)  # root's alone
    equal(w.g.exec("touch", "/usr/bin/x").status, 1)


@test
def chromium_is_sandboxed(w):
    Page(w.g)
    out = root(w, "for p in $(pgrep -f 'type=renderer'); do grep -E '^(Uid|NSpid|Seccomp|NoNewPrivs):' /proc/$p/status; done; "
                  "tr '\\0' ' ' </proc/$(pgrep -o chromium)/cmdline; ls -l /proc/$(pgrep -o chromium)/exe")
    assert "--no-sandbox" not in out and "--headless" in out, out
    assert re.search(r"^Uid:\s+1000\s+1000", out, re.M), out
    assert re.search(r"^Seccomp:\s+2", out, re.M), out
    assert re.search(r"^NSpid:\s+\d+\s+\d+", out, re.M), out


@test
def pages_and_pictures(w):
    page = Page(w.g)
    page.call("Page.enable")
    equal(page.go(f"http://{HOST}/"), None)
    equal(page.eval("document.title"), "ok")
    # The full browser's window has a frame of 87 pixels above the page, shown or not.
    headless_shell = "--headless=new" not in root(w, "tr '\\0' ' ' </proc/$(pgrep -o chromium)/cmdline")
    size = [1280, 800 if headless_shell else 713]
    equal(page.eval("[innerWidth, innerHeight]"), size)
    png = base64.b64decode(page.call("Page.captureScreenshot", format="png")["data"])
    width, height = struct.unpack(">II", png[16:24])
    equal([width, height], size)
    data, at = b"", 8
    while at < len(png):
        n, kind = struct.unpack(">I4s", png[at:at + 8])
        if kind == b"IDAT":
            data += png[at + 8:at + 8 + n]
        at += 12 + n
    raw = zlib.decompress(data)
    stride = len(raw) // height
    # The last line is plain background; of the text's lines at least one is not.
    assert len({raw[stride * y:stride * (y + 1)] for y in range(height)}) > 20
    if "BERTH_TEST_PICTURE" in os.environ:
        with open(os.environ["BERTH_TEST_PICTURE"], "wb") as f:
            f.write(png)


@test
def every_script_has_glyphs(w):
    page = Page(w.g)
    page.go(f"http://{HOST}/")

    def draw(c):
        return page.eval(f"({DRAW})({json.dumps(c)})")

    missing, blank = draw("\U0010fffd")[0], draw(" ")[0]
    drawn = {c: draw(c) for c in SCRIPTS}
    equal([c for c, (pixels, _) in drawn.items() if pixels in (missing, blank)], [])
    equal({c: colour for c, (_, colour) in drawn.items()}, SCRIPTS)
    equal(len({pixels for pixels, _ in drawn.values()}), len(SCRIPTS))


@test
def webgl_is_painted_in_software(w):
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    equal(page.eval("""(() => { const c = document.createElement('canvas'), g = c.getContext('webgl', {preserveDrawingBuffer: true});
        g.clearColor(0, 1, 0, 1); g.clear(g.COLOR_BUFFER_BIT); const p = new Uint8Array(4);
        g.readPixels(0, 0, 1, 1, g.RGBA, g.UNSIGNED_BYTE, p); return [...p]; })()"""), [0, 255, 0, 255])


@test
def storage_of_a_page(w):
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    page.eval("document.cookie = 'login=kept; max-age=86400'")
    page.eval("localStorage.setItem('kept', 'yes')")
    equal(page.eval("document.cookie"), "login=kept")


@test
def exec_streams(w):
    r = w.g.exec("sh", "-c", "cat; echo err >&2; exit 7", stdin=b"hello")
    equal((r.out, r.err, r.status, r.signal), (b"hello", b"err\n", 7, 0))
    r = w.g.exec("sh", "-c", "kill -TERM $$")
    equal((r.status, r.signal), (0, 15))
    big = os.urandom(3 << 20)
    c = w.g.exec_start(["cat"])
    feeder = threading.Thread(target=lambda: [c.send(STDIN, big[i:i + 65536]) for i in range(0, len(big), 65536)] and c.send(STDIN))
    feeder.start()
    r = w.g.exec_wait(c)
    feeder.join()
    assert r.out == big and r.status == 0, (len(r.out), r.status)
    r = w.g.exec("true", stdin=b"x" * (1 << 20))  # it does not read its input
    equal((r.status, r.failed), (0, None))


@test
def exec_surroundings(w):
    r = w.g.exec("sh", "-c", "id -un; pwd; echo $HOME $USER $LANG $TERM; ps -o pid=,sid=,pgid= $$", env=["X=1"])
    lines = r.out.decode().split("\n")
    equal(lines[:3], ["agent", "/home/agent", "/home/agent agent C.UTF-8 dumb"])
    equal(len(set(lines[3].split())), 1)
    equal(w.g.exec("sh", "-c", "pwd; echo $X $HOME", user="root", cwd="/tmp", env=["X=1", "HOME=/x"]).out, b"/tmp\n1 /x\n")
    equal(w.g.exec("x", user="nobody-here").failed[0], 2)
    equal(w.g.exec("/no/such/program").failed[0], 2)
    equal(w.g.exec("/etc/passwd").failed[0], 13)
    equal(w.g.exec("true", cwd="/root").failed[0], 13)
    equal(w.g.exec("ls", "/proc/self/fd").out.split()[:4], [b"0", b"1", b"2", b"3"])


@test
def exec_terminal(w):
    c = w.g.exec_start(["sh", "-c", "tty; stty size; read x; stty size; echo got $x; read y || echo end"], tty=(24, 80))
    seen = b""
    while b"24 80" not in seen:
        seen += c.recv()[1]
    c.send(WINSIZE, struct.pack("<HH", 50, 132))
    c.send(STDIN, b"word\n")
    while b"got word" not in seen:
        seen += c.recv()[1]
    assert b"/dev/pts/" in seen and b"50 132" in seen, seen
    c.send(STDIN)
    r = w.g.exec_wait(c)
    assert r.out.endswith(b"end\r\n") and r.status == 0, (r.out, r.status)
    c = w.g.exec_start(["sleep", "100"], tty=(24, 80))
    while c.recv()[0] != STARTED:
        pass
    c.send(STDIN, b"\x03")  # what a person types to interrupt
    equal(w.g.exec_wait(c).signal, 2)


@test
def exec_signals_and_ends(w):
    c = w.g.exec_start(["sh", "-c", "trap 'echo hup; exit 3' HUP; echo on; while :; do sleep 0.05; done"])
    while c.recv()[0] != STDOUT:
        pass
    c.send(SIGNAL, struct.pack("<I", 1))
    r = w.g.exec_wait(c)
    # The group gets it: the sleep too.
    assert r.out == b"hup\n" and r.status == 3, (r.out, r.status)
    c = w.g.exec_start(["sh", "-c", "sleep 4242 & sleep 4243"])
    while c.recv()[0] != STARTED:
        pass
    until("both", lambda: w.g.exec("pgrep", "-fc", "^sleep 424[23]").out == b"2\n")
    c.close()
    until("their end", lambda: w.g.exec("pgrep", "-f", "^sleep 424[23]").status == 1)
    # What a command leaves in the background does not hold its end back, and lives on.
    equal(w.g.exec("sh", "-c", "sleep 4244 & echo x").out, b"x\n")
    equal(w.g.exec("pkill", "-f", "^sleep 4244").status, 0)
    w.g.exec("sh", "-c", "(sh -c 'sleep 0.2' &) ; true")
    until("no zombies", lambda: root(w, "ps -eo stat= | grep -c ^Z || true").strip() == "0")


@test
def exec_back_pressure(w):
    before = w.g.ping()["memory_available_kib"]
    c = w.g.exec_start(["sh", "-c", "head -c 100000000 /dev/zero; echo done >&2"])
    time.sleep(5)  # nobody reads
    p = w.g.ping()
    assert before - p["memory_available_kib"] < 40 * 1024, (before, p)
    equal(p["execs"], 1)
    total = 0
    while True:
        kind, data = c.recv()
        total += len(data) if kind == STDOUT else 0
        if kind == EXIT:
            break
    equal(total, 100000000)
    c.close()
    # Input for a command that does not read: the sender is stopped, and the end of the connection is still seen.
    c = w.g.exec_start(["sleep", "4245"])
    c.sock.settimeout(3)
    try:
        for _ in range(2000):
            c.send(STDIN, b"x" * 65536)
        raise AssertionError("128 MiB went into a command that reads nothing")
    except TimeoutError:
        pass
    c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    until("its end", lambda: w.g.exec("pgrep", "-f", "sleep 4245").status == 1)


@test
def exec_limit(w):
    many = [w.g.exec_start(["sleep", "100"]) for _ in range(64)]
    for c in many:
        equal(c.recv()[0], STARTED)
    c = Channel(w.g.connect(CHANNEL), EXEC)
    equal(c.status, 3)
    c.close()
    equal(w.g.ping()["execs"], 64)
    for c in many:
        c.close()
    until("the end of all", lambda: w.g.ping()["execs"] == 0)


@test
def files(w):
    def f(*argv, stdin=None, user=""):
        return w.g.exec("berth-init", "file", *argv, stdin=stdin, user=user)

    data = os.urandom(1 << 20)
    equal(f("put", "a/b/c.bin", "600", stdin=data).status, 0)
    r = f("get", "/home/agent/a/b/c.bin")
    assert r.out == data and r.status == 0
    equal(w.g.exec("stat", "-c", "%a %U", "/home/agent/a/b/c.bin").out, b"600 agent\n")
    equal(f("put", "a/b/c.bin", stdin=b"new").status, 0)
    equal(w.g.exec("stat", "-c", "%a %s", "/home/agent/a/b/c.bin").out, b"600 3\n")
    equal(w.g.exec("ls", "-A", "/home/agent/a/b").out, b"c.bin\n")
    entry = f("list", "a/b").out
    assert re.fullmatch(rb"f 0600 3 \d{10} c\.bin\0", entry), entry
    equal([x.split(b" ")[0] for x in f("list", "a").out.split(b"\0")[:-1]], [b"d"])
    for argv, status in ((("get", "none"), 2), (("get", "/etc/shadow"), 3), (("put", "/etc/x"), 3), (("get", "a"), 4), (("put", "a"), 4),
                         (("list", "a/b/c.bin"), 5), (("tar", "a/b/c.bin"), 5), (("get", "a/b/c.bin/d"), 5), (("rm", "none"), 2),
                         (("rm", "/etc/passwd"), 3), (("bad", "x"), 1), (("get",), 1), (("get", "/dev/null"), 1)):
        r = f(*argv)
        equal((argv, r.status), (argv, status))
        assert r.err.count(b"\n") == 1, r.err
    equal(f("put", "/dev/shm/../../home/agent/dots", stdin=b"1").status, 0)
    tar = f("tar", "a")
    equal(tar.status, 0)
    equal(f("untar", "copy/of", stdin=tar.out).status, 0)
    equal(f("get", "copy/of/b/c.bin").out, b"new")
    # A hostile tar stays below its folder.
    import io
    import tarfile
    buf = io.BytesIO()
    with tarfile.open(fileobj=buf, mode="w") as t:
        for name in ("../out", "/home/agent/abs", "in"):
            info = tarfile.TarInfo(name)
            info.size = 1
            t.addfile(info, io.BytesIO(b"x"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/home/agent/a"
        t.addfile(link)
        info = tarfile.TarInfo("link/through")
        info.size = 1
        t.addfile(info, io.BytesIO(b"x"))
    f("untar", "jail/in", stdin=buf.getvalue())
    equal(w.g.exec("sh", "-c", "ls jail; ls a; ls abs").out, b"in\nb\n")
    equal(f("put", "/dev/shm/full", stdin=b"x").status, 0)
    root(w, "mkdir /tmp/small; mount -t tmpfs -o size=64k,mode=777 tmpfs /tmp/small")
    equal(f("put", "/tmp/small/x", stdin=b"x" * 200000).status, 6)
    equal(root(w, "ls -A /tmp/small"), "")
    equal(f("rm", "a").status, 0)
    equal(f("get", "a/b/c.bin").status, 2)


@test
def strangers_inside(w):
    script = ("import socket\nfor a in (('10.0.2.15', 700), ('127.0.0.1', 700), ('10.0.2.15', 701)):\n"
              " s = socket.socket()\n s.settimeout(2)\n try:\n  s.connect(a); s.sendall(b'BRTH\\1\\1\\0\\0'); print('answer', s.recv(8))\n"
              " except OSError as e: print('no')\n")
    # Closed at once, if it was accepted at all.
    out = w.g.exec("python3", "-c", script).out.decode().replace("answer b''", "no")
    equal(out, "no\nno\nno\n")


@test
def bad_frames(w):
    def closed(c):
        try:
            while True:
                c.recv(10)
        except Closed:
            return True

    for magic, version, kind, status in ((b"BRTH", 2, EXEC, 1), (b"BRTH", 1, 9, 2)):
        c = Channel(w.g.connect(CHANNEL), kind, version, magic)
        equal(c.status, status)
        assert closed(c)
    s = w.g.connect(CHANNEL)
    s.sendall(b"GET / HTTP/1.1\r\n\r\n")
    equal(s.recv(100), b"")
    for frame in (struct.pack("<IB3x", 65537, 0x10), struct.pack("<IB3s", 0, 0x11, b"\1\0\0"), struct.pack("<IB3x", 3, 0x10) + b"abc",
                  struct.pack("<IB3x", 0, 0x11), struct.pack("<IB3x", 0, 0x99), os.urandom(4096)):
        c = Channel(w.g.connect(CHANNEL), EXEC)
        c.sock.sendall(frame)
        assert closed(c), frame[:16]
    equal(w.g.ping()["execs"], 0)  # the control connection has not noticed
    old = w.g.control
    w.g.configure(hostname="boot-test")  # a new one replaces it
    assert closed(old)
    w.g.control.send(PING, b"short")
    assert closed(w.g.control)
    w.g.configure(hostname="boot-test")
    equal(struct.unpack("<IIII", w.g.wait_control(BROWSER))[0], UP)


@test
def relay_back_pressure(w):
    page = Page(w.g)
    before = w.g.ping()["memory_available_kib"]
    page.eval("globalThis.big = 'x'.repeat(20000000); 1")
    equal(len(page.eval("big")), 20000000)
    conns = [w.g.connect(CDP) for _ in range(100)]
    for c in conns:
        c.close()
    w.g.http("/json/version")
    assert before - w.g.ping()["memory_available_kib"] < 300 * 1024


@test
def certificates_of_a_running_agent(w):
    page = Page(w.g)
    equal(page.go(f"https://{HOST}/"), "net::ERR_CERT_AUTHORITY_INVALID")
    with open(w.folder + "/ca.crt", "rb") as f:
        equal(w.g.exec("berth-init", "file", "put", "/usr/local/share/ca-certificates/test.crt", "644", stdin=f.read(), user="root").status, 0)
    root(w, "update-ca-certificates")
    equal(w.g.exec("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"https://{HOST}/").out, b"200")
    w.g.control.send(BROWSER_RESTART)
    w.g.wait_browser(UP)
    page = Page(w.g)
    equal(page.go(f"https://{HOST}/"), None)
    equal(page.eval("document.title"), "ok")
    # Chromium's part alone: the whole takes half a minute under emulation.
    root(w, "rm /usr/local/share/ca-certificates/test.crt; /usr/libexec/berth/ca-sync")
    w.g.control.send(BROWSER_RESTART)
    w.g.wait_browser(UP)
    equal(Page(w.g).go(f"https://{HOST}/"), "net::ERR_CERT_AUTHORITY_INVALID")


@test
def killed_chromium_comes_back(w):
    n = w.g.ping()["browser_restarts"]
    root(w, "kill -9 $(pgrep -o chromium)")
    state = w.g.wait_browser(DOWN)
    equal(state[2:], (0, 9))
    equal(w.g.wait_browser(UP)[1], n + 1)
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    equal(page.eval("localStorage.getItem('kept')"), "yes")


@test
def chromium_is_given_up(w):
    w.g.control.send(BROWSER_RESTART)  # forgets earlier ends
    w.g.wait_browser(UP)
    root(w, "printf '#!/bin/sh\\necho broken on purpose >&2; exit 5\\n' >/tmp/broken; chmod 755 /tmp/broken; "
            "for f in /usr/lib/chromium/chromium-headless-shell /usr/lib/chromium/chromium; do "
            "[ ! -e $f ] || mount --bind /tmp/broken $f; done; kill -9 $(pgrep -o chromium)")
    equal(w.g.wait_browser(GAVE_UP)[2:], (5, 0))
    assert (1, "broken on purpose") in w.g.logs, w.g.logs[-5:]
    assert any(s == 0 and "given up" in t for s, t in w.g.logs), w.g.logs[-5:]
    root(w, "umount /usr/lib/chromium/chromium* 2>/dev/null; true")
    w.g.control.send(BROWSER_RESTART)
    w.g.wait_browser(UP)


@test
def clean_end_and_second_boot(w):
    Page(w.g).call("Page.navigate", url=f"http://{HOST}/")
    root(w, "echo kept >/usr/local/kept; echo '10.9.9.9 mine' >>/etc/hosts")
    w.g.exec("sh", "-c", "echo mine >~/kept; ln -s /etc/passwd ~/.config/chromium-berth/SingletonLock2; setsid sleep 500 >/dev/null 2>&1 &")
    print(f"# power-off after {w.g.shutdown():.1f} s")
    assert "in use" not in w.g.console_text() and "frozen" not in w.g.console_text(), w.g.console_text()
    ready = w.g.boot(hostname="new-name")
    equal(ready["fresh"], 0)
    w.g.wait_browser(UP)
    w.g.http("/json/version")
    print(f"# cold boot: kernel {ready['kernel_ms']} ms, init {ready['init_ms']} ms, first CDP answer after "
          f"{time.monotonic() - w.g.started:.1f} s")
    equal(root(w, "dmesg | grep -ciE 'recovery|orphan' || true").strip(), "0")
    equal(root(w, "cat /usr/local/kept /home/agent/kept; hostname"), "kept\nmine\nnew-name\n")
    assert re.search(r"10\.9\.9\.9 mine\n127\.0\.1\.1 new-name\n$", root(w, "cat /etc/hosts"))
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    equal(page.eval("document.cookie"), "login=kept")
    equal(page.eval("localStorage.getItem('kept')"), "yes")


def write_until_killed(w, seconds, act):
    """A command in the guest writes a file ten times a second; then the plug. When each file was heard of, and the time of the plug."""
    heard = {}
    c = w.g.exec_start(["sh", "-c", "mkdir n; i=0; while :; do i=$((i+1)); echo $i >n/$i; echo $i; sleep 0.1; done"])
    end, acted = time.monotonic() + seconds, False
    while time.monotonic() < end:
        kind, data = c.recv()
        for word in data.split() if kind == STDOUT else ():
            heard[int(word)] = time.monotonic()
        if not acted and time.monotonic() > end - LATEST_S - 1:
            act()
            acted = True
    w.g.kill()
    c.close()
    return heard, time.monotonic()


@test
def pulled_plug(w):
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    done = []

    def sign_in():
        page.eval("document.cookie = 'late=kept; max-age=86400'; localStorage.setItem('late', 'yes'); 1")
        done.append(time.monotonic())

    heard, end = write_until_killed(w, LATEST_S + 8, sign_in)
    equal(w.g.boot()["fresh"], 0)
    w.g.wait_browser(UP)
    lines = w.g.exec("sh", "-c", "cd n && for f in *; do echo $f $(cat $f); done").out.decode().splitlines()
    whole = {int(line.split()[0]) for line in lines if len(set(line.split())) == 1 and len(line.split()) == 2}
    lost = [end - at for i, at in heard.items() if i not in whole]
    print(f"# of {len(heard)} files written the oldest lost had been written {max(lost, default=0):.1f} s before the plug was pulled")
    assert max(lost, default=0) < LATEST_S, lost
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    equal(sorted(page.eval("document.cookie").split("; ")), ["late=kept", "login=kept"])
    equal(page.eval("[localStorage.getItem('kept'), localStorage.getItem('late')]"), ["yes", "yes"])


@test
def the_keeper_of_cookies_leaves_no_trace(w):
    equal(w.g.exec("pgrep", "-u", "agent", "-f", "^berth-init keep").status, 0)
    page = Page(w.g)
    page.go(f"http://{HOST}/")
    page.eval("document.cookie = 'another=1; max-age=86400'")
    time.sleep(6)
    names = {c["name"] for c in page.call("Storage.getCookies")["cookies"]}
    equal(names, {"late", "login", "another"})
    root(w, "pkill -f '^berth-init keep'")
    until("it to come back", lambda: w.g.exec("pgrep", "-f", "^berth-init keep").status == 0)


@test
def damaged_disk_is_repaired(w):
    w.g.shutdown()
    # s_state of the superblock: the kernel's mark for errors seen.
    subprocess.run(["qemu-io", "-c", "write -P 2 1082 1", "-c", "flush", w.g.disk], check=True, stdout=subprocess.DEVNULL)
    w.g.boot(browser=False)
    equal(w.g.wait_browser(DOWN), (DOWN, 0, 0, 0))
    equal(root(w, "cat /home/agent/kept"), "mine\n")
    assert any("had errors" in t for s, t in w.g.logs if s == 0) or "had errors" in w.g.console_text(), (w.g.logs, w.g.console_text())
    w.g.shutdown()


@test
def foreign_disk_is_left_alone(w):
    subprocess.run(["qemu-io", "-c", "write -P 90 0 64k", "-c", "flush", w.g.disk], check=True, stdout=subprocess.DEVNULL)
    w.g.start()
    w.g.proc.wait(240)
    assert "left alone" in w.g.console_text(), w.g.console_text()


def main():
    w = World(os.path.realpath(sys.argv[1]))
    wanted, bad = sys.argv[2:], 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit from outside: the machine and its namespace end as well
    try:
        for n, fn in enumerate(TESTS, 1):
            if wanted and fn is not TESTS[0] and fn.__name__ not in wanted:
                continue
            t = time.monotonic()
            try:
                fn(w)
                print(f"ok {n} - guest image: {fn.__name__.replace('_', ' ')} ({time.monotonic() - t:.1f} s)", flush=True)
            except Exception:
                bad += 1
                for line in traceback.format_exc().splitlines():
                    print("# " + line[:600])
                print(f"not ok {n} - guest image: {fn.__name__.replace('_', ' ')}", flush=True)
                if fn is TESTS[0]:
                    print("# console: " + w.g.console_text().replace("\n", "\n# "))
                    break
    finally:
        w.done()
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
