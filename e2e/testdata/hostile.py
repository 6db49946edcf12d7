# Passes on what the handler sees, as plainly as possible, to a function that records it.
import os
import socket

ADDRESS = os.environ["HOSTILE_FUNCTION"].rsplit(":", 1)


def handle(req):
    target = req.path + ("?" + req.query if req.query else "")
    lines = [f"{req.method} {target} HTTP/1.1", f"Host: {req.host}", f"Content-Length: {len(req.body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in req.headers.items() if name not in ("host", "content-length", "connection")]
    with socket.create_connection((ADDRESS[0], int(ADDRESS[1]))) as s:
        s.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + req.body)
        answer = b""
        while piece := s.recv(65536):
            answer += piece
    return answer.partition(b"\r\n\r\n")[2]
