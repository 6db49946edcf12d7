"""What a function sees of its container, and a child that it leaves behind."""

import os
import time


def handle(req):
    if req.path == "/orphan":
        return {"pid": leave_orphan()}
    if req.path == "/processes":
        return processes()
    return {"ppid": os.getppid(), "uid": os.getuid(), "root": write_root(), "first": name_of_first()}


def name_of_first():
    with open("/proc/1/comm") as f:
        return f.read().strip()


def write_root():
    try:
        open("/file", "w").close()
    except OSError as e:
        return e.strerror
    return "writable"


def leave_orphan():
    """Starts a process whose parent ends at once, so that process 1 inherits it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            time.sleep(1)
            os._exit(3)
        os.write(write, str(pid).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    pid = int(os.read(read, 20))
    os.close(read)
    return pid


def processes():
    """Maps process ids to state and parent."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as f:
                state, parent = f.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        found[pid] = {"state": state, "parent": int(parent)}
    return found
