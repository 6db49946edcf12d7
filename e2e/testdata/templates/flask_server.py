"""What the Python templates of OpenFaaS put in front of a handler: Flask, served by waitress. Written to the contract."""
import os
import sys
import types

import flask
import waitress

from function import handler

STYLE, PORT = sys.argv[1], int(sys.argv[2])
app = flask.Flask(__name__)


def event():
    request = flask.request
    return types.SimpleNamespace(
        body=request.get_data(), headers=request.headers, method=request.method, query=request.args, path=request.path)


def from_dict(answer):
    """A dict of the handler is not the body: it has statusCode, body and headers."""
    body, headers = answer.get('body', ''), answer.get('headers', [])
    body = flask.jsonify(body) if type(body) is dict else str(body)
    if type(headers) is dict:
        headers = list(headers.items())
    return body, answer.get('statusCode', 200), headers


def http(path):
    answer = handler.handle(event(), types.SimpleNamespace(hostname=os.environ.get('HOSTNAME', 'localhost')))
    if answer is None:
        return '', 200
    return from_dict(answer) if type(answer) is dict else answer


def body(path):
    raw = os.environ.get('RAW_BODY', '').lower() in ('true', '1')
    return handler.handle(flask.request.get_data(as_text=not raw))


methods = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'] if STYLE == 'http' else ['GET', 'POST']
view = http if STYLE == 'http' else body
app.add_url_rule('/', 'view', view, defaults={'path': ''}, methods=methods)
app.add_url_rule('/<path:path>', 'view', view, methods=methods)
waitress.serve(app, host='127.0.0.1', port=PORT, threads=4)
