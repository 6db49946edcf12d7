"""An example function: greets, reads JSON, tells what was uploaded, and streams."""

import hashlib
import time


def handle(req):
    if req.path == "/stream":
        return stream(5)
    if req.method == "POST" and "json" in req.headers.get("content-type", ""):
        return {"hello": req.json().get("name", "world")}
    if req.method in ("POST", "PUT"):
        return {"bytes": len(req.body), "sha256": hashlib.sha256(req.body).hexdigest()}
    return "hello " + req.args.get("name", ["world"])[0] + "\n"


def stream(count):
    """Each item reaches the client when it is yielded."""
    for i in range(count):
        yield "part %d\n" % i
        time.sleep(0.2)
