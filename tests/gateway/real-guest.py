"""A real guest whose channel is offered on a loopback port: real-guest.py IMAGE FOLDER. Prints the port; ends with its stdin."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest-image"))
from guestvm import CHANNEL, Guest, run  # noqa: E402


def pump(a, b):
    try:
        while got := a.recv(65536):
            b.sendall(got)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def pings(guest):
    while True:
        try:
            guest.ping()
        except Exception:  # the guest ends: nothing to keep up
            return
        threading.Event().wait(5)


guest = Guest(sys.argv[1], sys.argv[2], name="berth-gateway-test")
try:
    guest.boot(browser=False)
    threading.Thread(target=pings, args=(guest,), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def serve():
        while True:
            client, _ = listener.accept()
            inner = guest.connect(CHANNEL)
            for s in (client, inner):
                s.settimeout(None)
            for pair in ((client, inner), (inner, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    sys.stdin.read()
finally:
    guest.kill()
    run("ip", "netns", "del", guest.name)
    os._exit(0)
