"""Writes the id of every request into a ledger and answers with the body and the id; see ledger_test.go."""
import os
import time

from fnpod import Response

ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
with open(os.environ["NOISE"], "rb") as f:
    noise = f.read()


def payload(number, size):
    start = int(number) % 4096
    return noise[start:start + size]


def pieces(body):
    for i in range(0, len(body), 10000):
        yield body[i:i + 10000]


def handle(req):
    number = req.headers["x-id"]
    body = req.body
    good = body == payload(number, int(req.headers.get("x-size", "0")))
    os.write(ledger, (number + (" good\n" if good else " wrong %d\n" % len(body))).encode())
    if req.query:
        if "sleep" in req.args:
            time.sleep(float(req.args["sleep"][0]))
        if "size" in req.args:
            body = payload(number, int(req.args["size"][0]))
    if req.path == "/early":
        body = payload(number, 1000)
    if req.path == "/stream":
        body = pieces(body)
    return Response(body, 200, {"x-id": number})
