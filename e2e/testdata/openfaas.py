"""A function behind the http mode of OpenFaaS: an HTTP server of its own."""
import http.server
import json
import os
import signal
import sys
import threading
import time


def read_input():
    """Ends the function with its standard input, as some programs do."""
    sys.stdin.read()
    os._exit(9)


def told(*args):
    print("told to end", flush=True)
    os._exit(0)


threading.Thread(target=read_input, daemon=True).start()
signal.signal(signal.SIGTERM, told)


CROWD = 150
crowd = threading.Barrier(CROWD)
connections = []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        connections.append(self.client_address)
        super().setup()

    def do(self):
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.endswith("/exit"):
            os._exit(int(self.path.partition("?")[2]))
        if path.endswith("/sleep"):
            time.sleep(float(self.path.partition("?")[2]))
        if path.endswith("/long"):
            print("x" * int(self.path.partition("?")[2]), file=sys.stderr, flush=True)
        if path.endswith("/log"):
            print("to stdout", flush=True)
            print("to stderr", file=sys.stderr, flush=True)
        if path.endswith("/events"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for i in range(3):
                self.wfile.write(b"data: %d\n\n" % i)
                time.sleep(float(self.path.partition("?")[2] or 0.05))
            self.close_connection = True
            return
        if path.endswith("/crowd"):
            crowd.wait()
        if path.endswith("/drop"):
            self.close_connection = True
            return
        if path.endswith("/cut"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\npart\r\n")
            self.close_connection = True
            return
        text = json.dumps({
            "method": self.command, "path": self.path, "body": body.decode(),
            "connections": len(connections), "headers": [[k, v] for k, v in self.headers.items()],
        }).encode()
        if path.endswith("/plain"):
            text = b"<!DOCTYPE html><p>hello"
        self.send_response(503 if path.endswith("/unready") else 200)
        self.send_header("Content-Length", str(len(text)))
        if path.endswith("/fields"):
            self.send_header("X-Duration-Seconds", "1000")
            self.send_header("Set-Cookie", "a=1")
            self.send_header("Set-Cookie", "b=2")
            self.send_header("Keep-Alive", "timeout=5")
        if not path.endswith("/plain"):
            self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = do

    def log_message(self, *args):
        pass


time.sleep(float(os.environ.get("DELAY", "0")))


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 2 * CROWD


Server(("127.0.0.1", int(os.environ["LISTEN"])), Handler).serve_forever()
