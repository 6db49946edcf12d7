import http.server
import json
import os
import signal
import subprocess
import sys
import time

import selfview

log = os.environ.get("EVENTS")
stubborn = []


def event(text):
    if log:
        with open(log, "a") as f:
            f.write(text + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/exit":
            os._exit(7)
        if self.path == "/kill":
            os.kill(os.getpid(), signal.SIGKILL)
        data = b"served"
        if self.path.startswith("/wait?"):
            time.sleep(float(self.path[6:]))
            event("WAITED")
            data = b"waited"
        if self.path == "/stubborn":
            stubborn.append(True)
            child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000 & wait; wait; wait"])
            data = b"%d %d" % (os.getpid(), child.pid)
        if self.path == "/lines":
            sys.stdout.write(("o" * 999 + "\n") * 3000 + "x" * 100000)
            sys.stdout.flush()
        if self.path == "/echo":
            data = self.headers["X-Tag"].encode()
        if self.path.startswith("/self?"):
            data = json.dumps(selfview.view()).encode()
        if self.path == "/env":
            data = os.environ.get("FNPOD_QUEUE_LIMIT", "unset").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


def stop(number, frame):
    event("TERM")
    if not stubborn:
        os._exit(0)


signal.signal(signal.SIGTERM, stop)
for name in "HUP", "USR1", "USR2", "WINCH":
    signal.signal(getattr(signal, "SIG" + name), lambda n, f, name=name: event(name))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
