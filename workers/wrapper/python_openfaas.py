"""Handlers of OpenFaaS' Python templates in a worker: called as the templates call them, answered as Flask answers.

This part is put into python.py, before its last line, for the contracts openfaas-http, openfaas-flask and
openfaas-classic. A handler that imports Flask runs inside a Flask application, so that flask.request, jsonify and
abort work; for all others Flask is neither needed nor loaded.
"""
HTML = 'text/html; charset=utf-8'
METHODS = {'openfaas-http': ('DELETE', 'GET', 'PATCH', 'POST', 'PUT'), 'openfaas-flask': ('GET', 'POST')}


def load(file):
    """Imports the handler as function.NAME, wherever its folder lies; the folder above comes first in the search path."""
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import spec_from_file_location
    folder, _, base = file.rpartition('/')
    home = folder.rpartition('/')[0] or '/'
    if not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False)):
        del sys.path[0]
    if os.path.isdir(home + '/python'):  # where newer images have the function's packages
        from site import addsitedir
        addsitedir(home + '/python')
    sys.path.insert(0, home)
    init = folder + '/__init__.py'
    if os.path.exists(init):
        spec = spec_from_file_location('function', init, submodule_search_locations=[folder])
        package = sys.modules['function'] = module_from_spec(spec)
        spec.loader.exec_module(package)
    else:
        package = sys.modules['function'] = type(sys)('function')
        package.__path__ = [folder]
    name = 'function.' + base[:-3]
    __import__(name)
    with open(file, 'rb') as source:
        if CONTRACT != 'openfaas-classic' and 'flask' not in sys.modules and b'flask' in source.read():
            try:
                import flask  # noqa: F401: it is imported by the first request, and then it must be there
            except ImportError:
                pass
    return sys.modules[name]


def contract(_, handle):
    """Returns a native handler around one of a template."""
    later()  # no answer does without it
    if CONTRACT == 'openfaas-classic':
        return classic(handle)
    call = with_event(handle) if CONTRACT == 'openfaas-http' else with_body(handle)
    if 'flask' in sys.modules:
        return flask_application(call)
    methods = METHODS[CONTRACT]
    allowed = ', '.join(sorted(methods + ('HEAD', 'OPTIONS')))

    def answer(req):
        method = req.method
        if method not in methods and method != 'HEAD':
            if method == 'OPTIONS':
                return b'', 200, [('content-type', HTML), ('allow', allowed)]
            return page(405, 'Method Not Allowed', [('allow', allowed)])
        try:
            return answer_of(call(req), req)
        except BadRequestKey:
            return page(400, 'Bad Request')
    return answer


def page(status, title, fields=()):
    text = '<!doctype html>\n<html lang=en>\n<title>%d %s</title>\n<h1>%s</h1>\n' % (status, title, title)
    return text.encode(), status, [('content-type', HTML), *fields]


# What handlers get.

class Context:
    def __init__(self):
        self.hostname = os.environ.get('HOSTNAME', 'localhost')


class Event(Asked):
    """A request as python3-http has it. Its parts are made when they are first asked for."""

    @Part
    def body(self):
        return self._req.body

    @Part
    def headers(self):
        return Fields(self._req.headers)

    @Part
    def query(self):
        from urllib.parse import parse_qsl
        args = Args()
        for name, value in parse_qsl(self._req.query, keep_blank_values=True, errors='replace'):
            dict.setdefault(args, name, []).append(value)
        return args


class BadRequestKey(KeyError):
    """An argument that is not there. Flask answers it with 400, unless the handler catches it."""


class Fields:
    """Headers as Werkzeug has them: names in any case, read as Title-Case, iterated as pairs."""

    def __init__(self, headers):
        self._values = headers

    def __getitem__(self, name):
        return self._values[name]

    def get(self, name, default=None, type=None):
        value = self._values.get(name)
        if value is None:
            return default
        if type is None:
            return value
        try:
            return type(value)
        except ValueError:
            return default

    def getlist(self, name, type=None):
        value = self.get(name, type=type)
        return [] if value is None else [value]

    get_all = getlist

    def __contains__(self, name):
        return name in self._values

    has_key = __contains__

    def __iter__(self):
        return self.items()

    def items(self, lower=False):
        return ((name if lower else name.title(), value) for name, value in dict.items(self._values))

    def keys(self, lower=False):
        return (name for name, _ in self.items(lower))

    def values(self):
        return (value for _, value in self.items())

    def to_wsgi_list(self):
        return list(self)

    def __len__(self):
        return len(self._values)

    def __str__(self):
        return ''.join(['%s: %s\r\n' % pair for pair in self]) + '\r\n'

    def __repr__(self):
        return 'EnvironHeaders(%r)' % list(self)


class Args(dict):
    """A query as Werkzeug has it: a dict of lists that gives the first value, and all of them by getlist."""

    def __getitem__(self, name):
        try:
            return dict.__getitem__(self, name)[0]
        except KeyError:
            raise BadRequestKey(name) from None

    def get(self, name, default=None, type=None):
        values = dict.get(self, name)
        if not values:
            return default
        if type is None:
            return values[0]
        try:
            return type(values[0])
        except ValueError:
            return default

    def getlist(self, name, type=None):
        values = []
        for value in dict.get(self, name, ()):
            try:
                values.append(value if type is None else type(value))
            except ValueError:
                pass
        return values

    def items(self, multi=False):
        for name, values in dict.items(self):
            for value in values if multi else values[:1]:
                yield name, value

    def values(self):
        for _, value in self.items():
            yield value

    def lists(self):
        for name, values in dict.items(self):
            yield name, list(values)

    def listvalues(self):
        return dict.values(self)

    def to_dict(self, flat=True):
        return dict(self.items()) if flat else dict(self.lists())

    def __repr__(self):
        return 'ImmutableMultiDict(%r)' % list(self.items(multi=True))


# How handlers are called. What a call returns is what the template returns to Flask.

def with_event(handle):
    def call(req, event=Event):
        result = handle(event(req), Context())
        if result is None:
            return '', 200
        if type(result) is not dict:
            return result
        body = result.get('body', '')
        headers = result.get('headers', [])
        if type(headers) is dict:
            if isinstance(body, bytes) and headers.get('Content-type') == 'application/octet-stream':  # spelled as in the -debian template
                return body, result.get('statusCode', 200), headers
            headers = list(headers.items())
        return json_of(body) if type(body) is dict else str(body), result.get('statusCode', 200), headers
    return call


def with_body(handle):
    raw = os.environ.get('RAW_BODY', '').lower() in ('true', '1')

    def call(req, event=Event):
        body = event(req).body
        return handle(body if raw else body.decode('utf-8', 'replace'))
    return call


class Json(bytes):
    """A body that is JSON already."""


def json_of(value):
    global json_of
    flask = sys.modules.get('flask')
    if flask is not None:
        return flask.jsonify(value)
    from json import JSONEncoder

    def default(value):
        kind = type(value)
        if kind.__module__ in ('decimal', 'uuid'):
            return str(value)
        if hasattr(kind, '__dataclass_fields__'):
            from dataclasses import asdict
            return asdict(value)
        if hasattr(value, 'timetuple'):
            from calendar import timegm
            from email.utils import formatdate
            return formatdate(timegm(value.utctimetuple() if hasattr(value, 'utctimetuple') else value.timetuple()), usegmt=True)
        if hasattr(value, '__html__'):
            return str(value.__html__())
        raise TypeError('Object of type %s is not JSON serializable' % kind.__name__)
    encode = JSONEncoder(sort_keys=True, separators=(',', ':'), default=default).encode
    json_of = lambda value: Json(encode(value).encode() + b'\n')
    return json_of(value)


# What Flask makes of a result, without Flask.

def answer_of(result, req):
    status = headers = None
    if isinstance(result, tuple):
        if len(result) == 3:
            result, status, headers = result
        elif len(result) == 2 and isinstance(result[1], (dict, list, tuple)):
            result, headers = result
        elif len(result) == 2:
            result, status = result
        else:
            raise UnusableResult('handler returned a tuple of %d; expected (body, status), (body, headers) or all three' % len(result))
    kind, fields = HTML, []
    if isinstance(result, str):
        body = result.encode()
    elif isinstance(result, (bytes, bytearray)):
        if type(result) is Json:
            kind = 'application/json'
        body = bytes(result)
    elif hasattr(type(result), '__next__'):
        body = result
    elif isinstance(result, (dict, list)):
        kind, body = 'application/json', bytes(json_of(result))
    elif callable(result):
        body, own, fields = wsgi(result, environ_of(req))
        kind, status = '', own if status is None else status
    else:
        raise UnusableResult('handler returned %s %s; expected %s' % (
            'a' if result is not None else 'the', type(result).__name__, 'str, bytes, dict, list, a tuple, an iterator or a Response'))
    return body, number_of(status), merged(kind, fields, headers)


def number_of(status):
    if isinstance(status, str):
        return int(status.split(None, 1)[0])
    return 200 if status is None else int(status)


def merged(kind, fields, headers):
    """Adds a handler's headers; they replace what is there."""
    pairs = [('content-type', kind)] if kind else fields
    if headers:
        more = [(str(name), value if isinstance(value, (list, tuple)) else str(value))
                for name, value in (headers.items() if hasattr(headers, 'items') else headers)]
        names = {name.lower() for name, _ in more}
        pairs = [pair for pair in pairs if pair[0].lower() not in names] + more
    return pairs


# WSGI, which Response objects are, and Flask applications.

def wsgi(application, environ):
    """Returns body, status and fields of a WSGI application's answer; what is small and has a length is one piece."""
    head = []

    def start_response(status, fields, exc_info=None):
        head[:] = int(status.split(None, 1)[0]), fields
        return head.append
    items = application(environ, start_response)
    status, fields = head[:2]
    size = [value for name, value in fields if name.lower() == 'content-length']
    if size and int(size[0]) <= 1 << 20 or isinstance(items, (list, tuple)):
        try:
            return b''.join(items), status, fields
        finally:
            close(items)
    return Items(items), status, fields


class Items:
    """An iterator over a WSGI body, which may be iterable only."""

    def __init__(self, items):
        self.items = items
        self.next = iter(items).__next__

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def close(self):
        if hasattr(self.items, 'close'):
            self.items.close()


def flask_application(call):
    """Returns a native handler that is a Flask application with one view."""
    import flask
    application = flask.Flask('index', root_path=os.getcwd())
    application.config['PROPAGATE_EXCEPTIONS'] = True

    def event(_):
        request = flask.request
        event = Event(None)
        event.body, event.headers, event.method = request.get_data(), request.headers, request.method
        event.query, event.path = request.args, request.path
        return event

    def view(path):
        return call(flask.request.environ['fnpod.request'], event)
    application.add_url_rule('/', 'view', view, defaults={'path': ''}, methods=METHODS[CONTRACT])
    application.add_url_rule('/<path:path>', 'view', view, methods=METHODS[CONTRACT])

    def answer(req):
        environ = environ_of(req)
        environ['fnpod.request'] = req
        return wsgi(application, environ)
    return answer


# The classic template: one text in, and what is printed out.

def classic(handle):
    home, kind_of_all, log = os.getcwd(), os.environ.get('content_type'), os.dup(1)
    sys.stdout.reconfigure(errors='surrogateescape')  # as images of Python have standard input and output
    raw = getattr(os.environ, '_data', os.environ)  # compared without decoding
    own, own_raw = dict(os.environ), dict(raw)
    wanted = os.environ.get('cgi_headers', 'true') == 'true'

    def answer(req):
        if req.method not in METHODS['openfaas-http']:
            return None, 405
        variables = variables_of(req) if wanted else {}
        os.environ.update(variables)
        out = os.memfd_create('fnpod-output')  # one for each call: what a call leaves running writes into no other answer
        os.dup2(out, 1)
        good = False
        try:
            result = handle(req.body.decode('utf-8', 'surrogateescape'))
            if result is not None:
                print(result)
            good = True
        except SystemExit as end:
            good = not end.code
            if not good:
                raise
        finally:
            sys.stdout.flush()
            os.dup2(log, 1)
            for name in variables:
                os.environ.pop(name, None)
            if raw != own_raw:
                os.environ.clear()
                os.environ.update(own)
            os.chdir(home)
            body = os.pread(out, os.fstat(out).st_size, 0)
            os.close(out)
            if not good:
                sys.stderr.write(body.decode('utf-8', 'backslashreplace'))
        kind = kind_of_all or req.headers.get('content-type')
        return (body, 200, [('content-type', kind or sniffed(body))]) if kind or body else (None, 200)
    return answer


def variables_of(req):
    """Returns the variables that the classic watchdog gives to each process."""
    headers = req.headers
    variables = {'Http_' + '_'.join([part.capitalize() for part in name.split('-')]): headers.get_all(name)[0] for name in headers}
    variables['Http_Method'], variables['Http_Path'] = req.method, path_of(req)
    variables.pop('Http_Query', None)
    if req.query:
        variables['Http_Query'] = req.query
    if req.host:
        variables['Http_Host'] = req.host
    size = headers.get('content-length') or str(len(req.body))
    variables['Http_Content_Length'] = variables['Http_ContentLength'] = size
    return {name: value.replace('\0', '') for name, value in variables.items()}


def sniffed(body):
    """Gives the type that output looks like: HTML, text or neither."""
    start = body[:512]
    if start.lstrip().lower().startswith((b'<!doctype html', b'<html', b'<head', b'<body', b'<h1', b'<p>', b'<div', b'<table')):
        return HTML
    if len(start.translate(None, bytes([*range(9), 11, *range(14, 27), *range(28, 32)]))) == len(start):
        return TEXT[13:].decode()
    return BINARY[13:].decode()
