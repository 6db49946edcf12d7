"""What a function sees of itself and of the process that started it."""
import os


def files():
    seen = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            seen[fd] = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            pass  # the list's own descriptor
    return {fd: name for fd, name in seen.items() if not name.endswith("/fd")}


FILES = files()  # before the function opens any


def opens(name):
    try:
        open(name, "rb").close()
        return "opened"
    except OSError as e:
        return os.strerror(e.errno)


def view():
    with open("/proc/self/limits") as f:
        core = [line.split()[4:6] for line in f if line.startswith("Max core")][0]
    with open("/proc/self/cmdline", "rb") as f:
        args = f.read().decode().split("\0")[:-1]
    with open("/proc/self/oom_score_adj") as f:
        oom = int(f.read())
    parent = "/proc/%d/" % os.getppid()
    return {
        "files": FILES, "core": core, "args": args, "oom": oom, "env": dict(os.environ), "group": os.getpgid(0) == os.getpid(),
        "parent": {name: opens(parent + name) for name in ("environ", "mem", "maps", "fd/0")},
    }
