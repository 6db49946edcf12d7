"""A function of its own: an HTTP server that ends as it is told."""

import http.server
import os
import signal


class Function(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.wfile.flush()
        if self.path == "/exit":
            os._exit(7)
        if self.path == "/kill":
            os.kill(os.getpid(), signal.SIGKILL)


http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Function).serve_forever()
