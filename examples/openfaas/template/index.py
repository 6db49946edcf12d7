"""The server of the template: what stands between the watchdog and the handler. The workers do without it."""
import os
from types import SimpleNamespace

from flask import Flask, jsonify, request
from waitress import serve

from function.handler import handle

app = Flask(__name__)
context = SimpleNamespace(hostname=os.environ.get("HOSTNAME", "localhost"))


@app.route("/", defaults={"path": ""}, methods=["GET", "PUT", "POST", "PATCH", "DELETE"])
@app.route("/<path:path>", methods=["GET", "PUT", "POST", "PATCH", "DELETE"])
def call(path):
    event = SimpleNamespace(
        body=request.get_data(), headers=request.headers, method=request.method, query=request.args, path=request.path)
    answer = handle(event, context) or {}
    body = answer.get("body", "")
    return jsonify(body) if isinstance(body, dict) else str(body), answer.get("statusCode", 200), answer.get("headers", {})


serve(app, host="127.0.0.1", port=int(os.environ.get("PORT", 5000)), threads=4)
