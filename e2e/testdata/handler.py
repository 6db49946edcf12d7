import os
import sys
import time
import hashlib


def handle(req):
    path = req.path
    if path == "/echo":
        return req.headers.get("x-tag", "")
    if path == "/sum":
        return hashlib.sha256(req.body).hexdigest()
    if path == "/json":
        return {"got": req.json()}
    if path == "/raise":
        raise ValueError("the secret reason")
    if path == "/set":
        return {1, 2}
    if path == "/exit":
        os._exit(3)
    if path == "/hang":
        os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000.25")
        time.sleep(1000)
    if path == "/wait":
        time.sleep(float(req.query))
        return "waited"
    if path == "/flood":
        sys.stdout.write("x" * 10000000)
        sys.stderr.write("y\n" * 100000)
        return "flooded"
    if path == "/self":
        import selfview
        return selfview.view()
    if path == "/lines":
        sys.stdout.write(("o" * 999 + "\n") * 3000 + "x" * 100000)
        return "written"
    if path == "/stream":
        return ("part %d\n" % i for i in range(3))
    if path == "/pid":
        return str(os.getpid())
    return "hello"
