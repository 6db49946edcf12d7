"""Handlers of Nuclio in a worker: handler(context, event), init_context(context), and nuclio_sdk without installing it.

This part is put into python.py, before its last line, for the contract nuclio.
"""
from types import SimpleNamespace

FUNCTION = 'handler'
LOG = 0x23
PLAIN, JSON_TYPE = 'text/plain', 'application/json'
current = 0  # the request that log lines belong to; async handlers have several, and theirs belong to none


def contract(module, handle):
    """Returns a native handler around one of Nuclio, after init_context."""
    later()  # no answer does without it
    context = Context(Logger(), SimpleNamespace(kind='http', name='http'), NUMBER)
    init = getattr(module, 'init_context', None)
    if callable(init):
        result = init(context)
        if hasattr(result, '__await__'):
            settle(result)
    if getattr(getattr(handle, '__code__', None), 'co_flags', 0) & 0x80:
        async def answer(req):
            return answer_of(await handle(context, Event.of(req, context.trigger)))
        return answer

    def answer(req):
        global current
        current = req._number
        try:
            result = handle(context, Event.of(req, context.trigger))
            if hasattr(result, '__await__'):
                result = settle(result)
        finally:
            current = 0
        return answer_of(result)
    return answer


class Context:
    """What a handler gets besides the event; the same for all calls of a worker."""

    def __init__(self, logger=None, trigger=None, worker_id='0'):
        self.logger = logger
        self.user_data = SimpleNamespace()
        self.trigger = trigger
        self.trigger_name = getattr(trigger, 'name', None)
        self.worker_id = worker_id
        self.platform = Platform()
        self.Response = ApiResponse


class ApiResponse:
    """An answer of a handler: context.Response, nuclio_sdk.Response."""

    def __init__(self, headers=None, body=None, content_type=PLAIN, status_code=200, event_id=None):
        self.headers = headers or {}
        self.body = body
        self.content_type = content_type
        self.status_code = status_code
        self.event_id = event_id


class Event:
    """One event. What comes from the request is made when it is first asked for."""

    type = type_version = version = topic = url = ''
    shard_id, num_shards, offset, last_in_batch = -1, 0, 0, False

    def __init__(self, body=None, content_type=None, trigger=None, fields=None, headers=None, id=None, method=None, path='/', size=None,
                 timestamp=0, **more):
        self.body, self.content_type, self.trigger, self.fields = body, content_type, trigger, fields or {}
        self.headers, self.id, self.method, self.path, self.size, self.timestamp = headers or {}, id, method, path, size, timestamp
        self.__dict__.update(more)

    @classmethod
    def of(cls, req, trigger):
        event = cls.__new__(cls)
        event._req = req
        event.trigger = trigger
        event.content_type = kind = req.headers.get('content-type', '')
        if kind == JSON_TYPE:  # exactly
            event.body = parsed(req.body)
        return event

    @Part
    def body(self):
        return self._req.body

    @Part
    def size(self):
        return len(self._req.body)

    @Part
    def method(self):
        return self._req.method

    @Part
    def id(self):
        from uuid import uuid4
        return str(uuid4())

    @Part
    def headers(self):
        headers = self._req.headers
        return {'-'.join([p.capitalize() for p in name.split('-')]): value if name == 'cookie' else headers.get_all(name)[-1]
                for name, value in dict.items(headers)}

    @Part
    def fields(self):
        from urllib.parse import parse_qsl
        return dict(parse_qsl(self._req.query, keep_blank_values=True))

    @Part
    def path(self):
        from urllib.parse import unquote
        kept = []
        parts = unquote(self._req.path).split('/')
        for part in parts:
            if part == '..':
                del kept[-1:]
            elif part not in ('', '.'):
                kept.append(part)
        return '/' + '/'.join(kept) + ('/' if kept and parts[-1] in ('', '.', '..') else '')

    @Part
    def timestamp(self):
        from datetime import datetime, timezone
        return datetime.fromtimestamp(int(self._req._at), timezone.utc).replace(tzinfo=None)

    def get_header(self, name):
        """The value of a header whose name is in any case; None without it."""
        if '_req' in self.__dict__:
            return self._req.headers.get(name)
        name = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == name), None)

    def to_json(self):
        from json import dumps
        names = ('body', 'content_type', 'fields', 'headers', 'id', 'method', 'path', 'size', 'timestamp', 'url', 'shard_id', 'num_shards', 'type',
                 'type_version', 'version', 'last_in_batch', 'offset', 'topic')
        values = {name: getattr(self, name) for name in names}
        values['trigger'] = {'kind': getattr(self.trigger, 'kind', None), 'name': getattr(self.trigger, 'name', None)}
        return dumps(values, default=lambda value: value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value))

    @staticmethod
    def deserialize(data, kind=None):
        """Makes an event of a dict, or of its JSON."""
        if isinstance(data, (str, bytes)):
            from json import loads
            data = loads(data)
        data = dict(data)
        data['trigger'] = SimpleNamespace(**(data.get('trigger') or {}))
        return Event(**data)


def parsed(body):
    from json import loads
    try:
        return loads(body)
    except ValueError as error:
        print('Failed deserializing json body, error message: %s' % error, file=sys.stderr)
        return body


# Answers.

def answer_of(result):
    status, kind, fields = 200, PLAIN, ()
    if isinstance(result, list):  # a batch of one
        result = result[0] if result else ''
    if isinstance(result, tuple) and len(result) == 2:
        status, result = result
        if isinstance(status, bool) or not isinstance(status, int):
            raise UnusableResult('handler returned a %s as status; expected an int' % type(status).__name__)
        if not isinstance(result, str):
            result, kind = json_of(result), JSON_TYPE
    elif isinstance(result, dict):
        result, kind = json_of(result), JSON_TYPE
    elif hasattr(result, 'status_code') and hasattr(result, 'content_type') and hasattr(result, 'body'):
        status, kind, fields, result = result.status_code or 200, result.content_type, result.headers or {}, result.body
        if isinstance(result, dict):
            result, kind = json_of(result), JSON_TYPE
    if isinstance(result, str):
        body = result.encode('utf-8', 'surrogatepass').decode('utf-8', 'replace').encode() if not result.isascii() else result.encode()
    elif isinstance(result, bytes) or hasattr(type(result), '__next__') or hasattr(type(result), '__anext__'):
        body = result
    else:
        body = str(result).encode()
    pairs = [(name, value.translate(BREAKS)) for name, value in dict(fields).items() if isinstance(value, str) and name.lower() != 'date']
    if kind:
        pairs = [pair for pair in pairs if pair[0].lower() != 'content-type'] + [('content-type', kind)]
    elif body and not any(name.lower() == 'content-type' for name, _ in pairs):
        pairs.append(('content-type', 'text/plain; charset=utf-8'))
    return Response(body if body != b'' else None, status, pairs)


BREAKS = {10: ' ', 13: ' ', 0: ' '}


def json_of(value):
    from json import dumps
    try:
        return dumps(value, allow_nan=False, default=repr)
    except ValueError:
        return dumps(finite(value), default=repr)


def finite(value):
    """Replaces the numbers that JSON has not by their names."""
    if isinstance(value, float) and value - value != 0:
        return 'NaN' if value != value else 'Infinity' if value > 0 else '-Infinity'
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


# What the context offers.

class Logger:
    """context.logger: each call is one log record with its fields."""

    def __init__(self, **fields):
        self._fields = fields

    def bind(self, **fields):
        self._fields = {**self._fields, **fields}
        return self

    def _log(self, level, message, args, fields):
        if args:
            try:
                message = message % args
            except (TypeError, ValueError):
                message = '%s %r' % (message, args)
        pairs = [str(part).replace('\0', '\\0')[:16 << 10] for pair in {**self._fields, **fields}.items() for part in pair]
        meta = '\0'.join(pairs).encode('utf-8', 'backslashreplace')
        body = str(message).encode('utf-8', 'backslashreplace')[:64 << 10]
        send(pack(len(meta), len(body), LOG, 0, level, current), meta, body)

    def debug(self, message, *args):
        self._log(0, message, args, {})

    def info(self, message, *args):
        self._log(1, message, args, {})

    def warn(self, message, *args):
        self._log(2, message, args, {})

    def error(self, message, *args):
        self._log(3, message, args, {})

    warning = warn

    def debug_with(self, message, *args, **fields):
        self._log(0, message, args, fields)

    def info_with(self, message, *args, **fields):
        self._log(1, message, args, fields)

    def warn_with(self, message, *args, **fields):
        self._log(2, message, args, fields)

    def error_with(self, message, *args, **fields):
        self._log(3, message, args, fields)

    warning_with = warn_with


class Platform:
    """context.platform: calls to other functions, and what is called at the end."""

    def __init__(self):
        self.kind = 'kube' if 'KUBERNETES_SERVICE_HOST' in os.environ else 'local'
        self.namespace = os.environ.get('NUCLIO_FUNCTION_NAMESPACE', 'nuclio')

    def call_function(self, name, event, node=None, timeout=None, service_name_override=None):
        """Sends an event to another function and returns its answer."""
        from http.client import HTTPConnection
        from json import dumps, loads
        host = service_name_override or ('nuclio-' + name if self.kind == 'kube' else 'nuclio-%s-%s' % (self.namespace, name))
        body, headers = event.body, dict(event.headers or {})
        if isinstance(body, (dict, list)):
            body = dumps(body)
            headers.setdefault('Content-Type', JSON_TYPE)
        elif event.content_type:
            headers.setdefault('Content-Type', event.content_type)
        headers['X-Nuclio-Target'] = name
        host, _, port = host.partition(':')
        connection = HTTPConnection(host, int(port or 8080), timeout=timeout)
        try:
            connection.request(event.method or ('POST' if body else 'GET'), event.path or '/', body, headers)
            reply = connection.getresponse()
            body, kind = reply.read(), reply.getheader('Content-Type', PLAIN)
            return ApiResponse(dict(reply.getheaders()), loads(body) if kind == JSON_TYPE else body, kind, reply.status)
        finally:
            connection.close()

    def set_termination_callback(self, callback):
        from atexit import register
        register(callback)

    set_drain_callback = set_termination_callback

    async def explicit_ack(self, qualified_offset):
        """There is nothing to acknowledge: events come by HTTP."""


class Sdk:
    """Finds nuclio_sdk when it is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == 'nuclio_sdk':
            from _frozen_importlib import ModuleSpec
            return ModuleSpec(name, Sdk)

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        module.Context, module.Event, module.Response, module.Logger, module.Platform = Context, Event, ApiResponse, Logger, Platform
        module.TriggerInfo = SimpleNamespace


sys.meta_path.append(Sdk)
