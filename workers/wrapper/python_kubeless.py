"""Handlers of Kubeless in a worker: handler(event, context), answered as bottle answers.

This part is put into python.py, before its last line, for the contract kubeless. A handler that imports bottle gets bottle's
request in event['extensions'] and may return or raise bottle's HTTPResponse; all others need no bottle.
"""
FUNCTION = 'handler'
HTML, JSON_TYPE = 'text/html; charset=UTF-8', 'application/json'
METHODS = 'GET', 'POST', 'PATCH', 'DELETE', 'HEAD'  # and PUT, which the original refuses


class UnusableBody(ValueError):
    """The request says that it is JSON, and is not: the handler is not called."""


def contract(_, handle):
    """Returns a native handler around one of Kubeless."""
    later()  # no answer does without it
    bottle = sys.modules.get('bottle')
    context = {
        'function-name': getattr(handle, '__name__', ''), 'timeout': float(os.environ.get('FUNC_TIMEOUT', 180)),
        'runtime': os.environ.get('FUNC_RUNTIME'), 'memory-limit': os.environ.get('FUNC_MEMORY_LIMIT'),
    }
    strict = SETTINGS.get('KUBELESS_STRICT') == 'true'  # the type exactly, and no PUT
    methods = METHODS if strict else METHODS + ('PUT',)
    most = int(os.environ.get('FUNC_MEMFILE_MAX', 100 << 20))

    def answer(req):
        if req.method not in methods:
            return page(405, 'Method Not Allowed', [('allow', ', '.join(methods))])
        headers, data = req.headers, req.body
        kind = headers.get('content-type', '')
        if kind == JSON_TYPE or not strict and kind.partition(';')[0].strip().lower() == JSON_TYPE:
            if len(data) > most:
                return page(413, 'Request Entity Too Large')
            try:
                data = req.json() if data else None
            except ValueError as error:
                raise UnusableBody(str(error)) from None
        event = {
            'data': data, 'event-id': headers.get('event-id'), 'event-type': headers.get('event-type'), 'event-time': headers.get('event-time'),
            'event-namespace': headers.get('event-namespace'),
            'extensions': {'request': bottle.LocalRequest({**environ_of(req), 'PATH_INFO': path_of(req, 'ignore')}) if bottle else BareRequest(req)},
        }
        try:
            result = handle(event, dict(context))
        except BaseException as error:
            if not is_response(error):
                raise
            result = error
        return answer_of(result)
    return answer


def is_response(value):
    """Knows bottle's HTTPResponse and HTTPError by what they have."""
    return hasattr(value, 'headerlist') and hasattr(value, 'status_code') and hasattr(value, 'body')


def answer_of(result):
    status, pairs = 200, [('content-type', HTML)]
    if is_response(result):
        if isinstance(result, Exception) and type(result).__name__ == 'HTTPError':
            return page(result.status_code, result.status_line.partition(' ')[2], [p for p in result.headerlist if p[0] != 'Content-Type'], result.body)
        status, pairs, result = result.status_code, list(result.headerlist), result.body
        if not any(name.lower() == 'content-type' for name, _ in pairs):
            pairs.append(('content-type', ''))  # none, as of 204 and 304
    if isinstance(result, dict):
        from json import dumps
        return dumps(result).encode(), status, [p for p in pairs if p[0].lower() != 'content-type'] + [('content-type', JSON_TYPE)]
    if not result:
        return b'', status, pairs
    if isinstance(result, (list, tuple)) and isinstance(result[0], (str, bytes)):
        result = result[0][:0].join(result)
    if isinstance(result, str):
        result = result.encode()
    if isinstance(result, bytes) or hasattr(type(result), '__next__'):
        return result, status, pairs
    raise UnusableResult('handler returned a %s; expected str, bytes, dict, None, a list of str or bytes, an iterator or HTTPResponse' % type(result).__name__)


def page(status, title, fields=(), text=''):
    from html import escape
    text = '<!DOCTYPE html>\n<title>Error: %d %s</title>\n<h1>Error: %d %s</h1>\n<pre>%s</pre>\n' % (
        status, title, status, title, escape(text if isinstance(text, str) else str(text)))
    return text.encode(), status, [('content-type', HTML), *fields]


class Values(dict):
    """Names and values of a query or form: the last one of a name, all of them by getall; also as attributes."""

    @classmethod
    def of(cls, text):
        from urllib.parse import parse_qsl
        values = cls()
        values.lists = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            values[name] = value
            values.lists.setdefault(name, []).append(value)
        return values

    def getall(self, name):
        return self.lists.get(name, [])

    getlist = getall

    def __getattr__(self, name):
        return self.get(name, '')


class BareRequest(Asked):
    """event['extensions']['request'] without bottle. Its parts are made when they are first asked for."""

    def get_header(self, name, default=None):
        return self._req.headers.get(name, default)

    @Part
    def query_string(self):
        return self._req.query

    @Part
    def headers(self):
        return self._req.headers

    @Part
    def query(self):
        return Values.of(self._req.query)

    @Part
    def forms(self):
        kind = self.content_type.partition(';')[0].strip().lower()
        return Values.of(self._req.body.decode('utf-8', 'replace') if kind == 'application/x-www-form-urlencoded' else '')

    @Part
    def content_type(self):
        return self._req.headers.get('content-type', '')

    @Part
    def content_length(self):
        return len(self._req.body)

    @Part
    def remote_addr(self):
        return self._req.peer

    @Part
    def url(self):
        return '%s://%s%s%s' % (self._req.scheme, self._req.host, self._req.path, self._req.query and '?' + self._req.query)

    @Part
    def environ(self):
        return environ_of(self._req)

    @Part
    def json(self):
        return self._req.json() if self.content_type.startswith(JSON_TYPE) else None

    @property
    def body(self):
        from io import BytesIO
        return BytesIO(self._req.body)
