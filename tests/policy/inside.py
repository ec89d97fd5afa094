"""Into namespaces of its own: a test script, run again as uid 0 of a user namespace, alone in its network and mounts."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TOOLS = ("curl", "dig", "openssl", "ip", "nft", "unshare", "nsenter")
UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]


def program():
    prefix = os.environ.get("BERTH_PREFIX")
    places = [f"{prefix}/libexec/berth/berth-policy"] if prefix else []
    places += [f"{TOP}/build/policy/policy/berth-policy", "/usr/local/libexec/berth/berth-policy"]
    return next((p for p in places if os.access(p, os.X_OK)), places[0])


def map_ids(tell, ready, pid):
    """Writes the maps of the user namespace that the child has made; ids as `berth up` maps them for root."""
    os.read(ready, 1)
    for kind in ("uid", "gid"):
        with open(f"/proc/{pid}/{kind}_map", "w") as f:
            f.write("0 1845493760 65536\n")
    os.write(tell, b"x")


def enter_mapped(script):
    """As root: unshares the user namespace by itself, so that it can have many ids without /etc/subuid."""
    import ctypes
    ready_r, ready_w = os.pipe()
    mapped_r, mapped_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        if ctypes.CDLL(None).unshare(0x10000000) != 0:
            os._exit(1)
        os.write(ready_w, b"x")
        os.read(mapped_r, 1)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os._exit(subprocess.run([*UNSHARE, "/usr/bin/python3", script, *sys.argv[1:]]).returncode)
    map_ids(mapped_w, ready_r, pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def enter(script, *beside):
    """Runs it again as uid 0 of a user namespace, with network and mounts of its own; its exit status. beside: files it needs."""
    missing = [t for t in TOOLS if not shutil.which(t)]
    if missing:
        print("not ok - tools missing:", " ".join(missing))
        return 1
    os.environ["BERTH_TEST_INSIDE"] = "1"
    # From a copy that other users get to: the checkout may lie below a private folder, as /root is.
    with tempfile.TemporaryDirectory(prefix="berth-policy-test.") as folder:
        os.chmod(folder, 0o755)
        modules = [f"{HERE}/{f}" for f in os.listdir(HERE) if f.endswith(".py")]
        for file in (script, *beside, *modules):
            shutil.copy(file, folder)
        os.environ["BERTH_TEST_PROGRAM"] = shutil.copy(program(), folder)
        copy = f"{folder}/{os.path.basename(script)}"
        if os.geteuid() == 0 and os.environ.get("BERTH_TEST_SINGLE_ID") != "1":
            return enter_mapped(copy)
        return subprocess.run([*UNSHARE, "--user", "--map-root-user", "/usr/bin/python3", copy, *sys.argv[1:]]).returncode


def is_inside():
    return os.environ.get("BERTH_TEST_INSIDE") == "1"
