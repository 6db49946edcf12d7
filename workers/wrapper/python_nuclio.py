"""Handlers of Nuclio in a worker: called with context and event, answered as Nuclio's own wrapper answers.

This part is put into python.py, before its last line, for the contract nuclio. Nothing has to be installed for it:
where nuclio_sdk is missing, importing it gives the classes below.
"""
FUNCTION = 'handler'
LOG = 0x23
PROCESSOR = False     # we take the place of Nuclio's processor, and say all that it says
LEVELS = ('debug', 'info', 'warn', 'error')
MOST_LOG = 64 << 10   # bytes of a line
MOST_FIELD = 4096     # characters of the field that brings log lines to the client
DECODE = True         # strings of events are str, else bytes
PLAIN = b'text/plain; charset=utf-8'  # of what is not the handler's
TEXT = BINARY = b'content-type\0text/plain'
RECORDS = None        # lines of the event in progress, if its client asked for them
LEAST = 0             # their least level
NUMBER = 0            # of the event in progress
TRIGGER = ''          # its name
EVENT = None          # a ContextVar with these four, where several events are in progress
MESSAGES = False      # some events are messages of a broker


load_file = load  # as it is without this part


def load(file):
    """Imports the handler's module by its name; the function's folder comes first in the search path."""
    global DECODE, PROCESSOR, MESSAGES
    PROCESSOR, DECODE = 'NUCLIO_HOME' in SETTINGS, SETTINGS.get('NUCLIO_DECODE', 'true') == 'true'
    MESSAGES = SETTINGS.get('NUCLIO_TRIGGER_KIND', 'http') not in ('http', 'cron', 'kickstart')  # empty where triggers share their workers
    sys.meta_path.append(Finder)
    if not PROCESSOR:
        return load_file(file)
    if not DECODE:
        for name in ('url', 'type', 'type_version', 'version', 'topic'):
            setattr(RequestEvent, name, b'')
    if not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False)):
        del sys.path[0]  # the interpreter put it there for this file
    sys.path.insert(0, SETTINGS['NUCLIO_HOME'])
    name = SETTINGS['NUCLIO_MODULE']
    __import__(name)
    return sys.modules[name]


class Finder:
    """Gives nuclio_sdk to those who import it where it is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != 'nuclio_sdk':
            return None
        from _frozen_importlib import ModuleSpec
        return ModuleSpec(name, Finder)

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        for kind in (Context, Event, EventDeserializerKinds, ApiResponse, Logger, Platform, TriggerInfo, QualifiedOffset, ExceptionWithResponse):
            kind.__module__ = 'nuclio_sdk'
            setattr(module, kind.__name__, kind)
        for part in ('context', 'event', 'exceptions', 'logger', 'platform', 'qualified_offset', 'response'):
            setattr(module, part, module)  # all names are in one
            sys.modules['nuclio_sdk.' + part] = module


def contract(module, handle):
    """Returns a native handler around one of Nuclio, after init_context."""
    later()  # no answer does without it
    context = Context()
    init = getattr(module, 'init_context', None)
    if callable(init):
        result = init(context)
        if hasattr(result, '__await__'):
            settle(result)
    from atexit import register
    register(context.platform._terminate)

    def answer(req):
        global NUMBER, RECORDS, LEAST, TRIGGER
        NUMBER = req._number
        if b'x-nuclio-log-level' in req._raw:  # a look at the bytes is cheap, one at the fields is not
            RECORDS, LEAST, TRIGGER = wanted(req)
        try:
            result = run(req)
            if RECORDS is not None:
                with_records(result[2], RECORDS)
            return result
        finally:
            NUMBER, RECORDS = 0, None

    def event_of(req, batch):
        """Returns an event, or the answer to what is none."""
        try:
            if batch:
                return batch_of(req.body), None
            return message_of(req) if MESSAGES and req.scheme.startswith('message/') else RequestEvent(req), None
        except CloudEventError:
            if not PROCESSOR:
                raise
            return None, (b'Failed to wrap structured cloud event', 500, [('content-type', PLAIN.decode())])
        except Exception as error:
            return None, failed('Exception caught while serving', error, context)

    def answered(result, batch):
        try:
            return answers_of(result, context) if batch else answer_of(result)
        except Exception as error:
            return failed('Exception caught while serving', error, context)

    def run(req):
        batch = b'\0batch/' in req._raw and req.scheme.startswith('batch/')
        event, refusal = event_of(req, batch)
        if refusal:
            return refusal
        try:
            result = handle(context, event)
            kind = type(result)
            if (kind is str and result.isascii() or kind is bytes and result) and RECORDS is None and not batch:
                return result  # sent as it is, with the type below
            if hasattr(result, '__await__'):
                result = settle(result)
        except BaseException as error:
            return failed('Exception caught in handler', error, context)
        return answered(result, batch)

    async def beside_others(req):
        """Is answer where several events are in progress, each in a task of its own."""
        records, least, trigger = wanted(req) if b'x-nuclio-log-level' in req._raw else (None, 0, '')
        EVENT.set((req._number, records, least, trigger))
        batch = b'\0batch/' in req._raw and req.scheme.startswith('batch/')
        event, result = event_of(req, batch)
        if result is None:
            try:
                result = await handle(context, event)
            except Exception as error:
                result = failed('Exception caught in handler', error, context)
            else:
                result = answered(result, batch)
        if records is not None:
            with_records(result[2], records)
        return result

    if int(SETTINGS.get('CONCURRENCY', 1)) > 1 and is_async(handle):
        global EVENT
        from contextvars import ContextVar
        EVENT = ContextVar('event', default=(0, None, 0, ''))
        return beside_others
    return answer


def wanted(req):
    """What the client wants of the log: a list for lines, if any, their least level, and the name of the trigger."""
    level = req.headers.get('x-nuclio-log-level')
    if level is None:
        return None, 0, ''
    return [], LEVELS.index(level.lower()) if level.lower() in LEVELS else 0, req.scheme.partition('/')[2]


def failed(what, error, context):
    if not PROCESSOR:
        raise error
    trim(error)
    from traceback import format_exception
    trace = ''.join(format_exception(type(error), error, error.__traceback__))
    context.logger.error_with(what, exc=str(error), traceback=trace)
    return ('%s - "%s": %s' % (what, error, trace)).encode('utf-8', 'replace'), 500, [('content-type', 'text/plain')]


# What handlers get.

class TriggerInfo:
    def __init__(self, kind='', name=''):
        self.kind, self.name = kind, name


class Context:
    def __init__(self, logger=None, platform=None, worker_id=None, trigger=None):
        self.worker_id = SETTINGS.get('INDEX', '0') if worker_id is None else worker_id
        self.trigger = trigger or TriggerInfo(SETTINGS.get('NUCLIO_TRIGGER_KIND', 'http'), SETTINGS.get('NUCLIO_TRIGGER_NAME', 'http'))
        self.trigger_name = self.trigger.name
        self.logger = logger or Logger({'worker_id': self.worker_id} if PROCESSOR else None)
        self.platform = platform or Platform(SETTINGS.get('NUCLIO_PLATFORM') or ('kube' if 'KUBERNETES_SERVICE_HOST' in os.environ else 'local'), SETTINGS.get('NUCLIO_NAMESPACE', 'nuclio'))
        self.user_data = lambda: None  # takes any attribute
        self.Response = ApiResponse


class ApiResponse:
    def __init__(self, headers=None, body=None, content_type='text/plain', status_code=200, event_id=None):
        self.headers = headers or {}
        self.body = body
        self.status_code = status_code
        self.content_type = content_type or 'text/plain'
        self.event_id = event_id

    def ensure_no_ack(self):
        self.headers['x-nuclio-stream-no-ack'] = True

    def __repr__(self):
        return 'Response(%s)' % ', '.join(['%s=%r' % item for item in self.__dict__.items()])


ApiResponse.__name__ = ApiResponse.__qualname__ = 'Response'


class ExceptionWithResponse(Exception):
    def __init__(self, response=None, *args):
        super().__init__(*args)
        self.response = response


class QualifiedOffset:
    def __init__(self, topic, partition, offset):
        self.topic, self.partition, self.offset = topic, partition, offset

    @classmethod
    def from_event(cls, event):
        return cls(event.topic, event.shard_id, event.offset)


class Platform:
    def __init__(self, kind, namespace=''):
        self.kind, self.namespace = kind, namespace
        self._on_termination = self._on_drain = None

    def call_function(self, function_name, event, node=None, timeout=None, service_name_override=None):
        """Asks another function over HTTP and returns its Response."""
        from http.client import HTTPConnection
        from json import dumps, loads
        name = 'nuclio-' + function_name if self.kind == 'kube' else 'nuclio-%s-%s' % (self.namespace, function_name)
        headers = {str(key): str(value) for key, value in (event.headers or {}).items()}
        headers['X-Nuclio-Target'] = function_name
        body, kind = event.body, event.content_type
        if isinstance(body, dict):
            body, kind = dumps(body), kind or 'application/json'
        if kind:
            headers['Content-Type'] = kind
        if isinstance(body, str):
            body = body.encode()
        connection = HTTPConnection(service_name_override or name + ':8080', **({} if timeout is None else {'timeout': timeout}))
        try:
            connection.request(event.method or ('POST' if body else 'GET'), event.path or '/', body=body or None, headers=headers)
            answer = connection.getresponse()
            data, kind = answer.read(), answer.getheader('Content-Type', '')
            if kind == 'application/json':
                data = loads(data)
            return ApiResponse(dict(answer.getheaders()), data, kind, answer.status)
        finally:
            connection.close()

    async def explicit_ack(self, qualified_offset):
        """Acknowledges an event of a stream; there are none here."""

    def set_termination_callback(self, callback):
        self._on_termination = callback

    def set_drain_callback(self, callback):
        self._on_drain = callback

    def _terminate(self):
        callback, self._on_termination = self._on_termination, None
        if callback:
            callback()


class Logger:
    """Lines of the log; each has the fields of its logger."""

    def __init__(self, fields=None):
        self._fields = dict(fields or {})

    def bind(self, **fields):
        self._fields.update(fields)
        return self

    def debug(self, message, *args):
        self._say(0, message, args, {})

    def info(self, message, *args):
        self._say(1, message, args, {})

    def warn(self, message, *args):
        self._say(2, message, args, {})

    warning = warn

    def error(self, message, *args):
        self._say(3, message, args, {})

    def debug_with(self, message, *args, **fields):
        self._say(0, message, args, fields)

    def info_with(self, message, *args, **fields):
        self._say(1, message, args, fields)

    def warn_with(self, message, *args, **fields):
        self._say(2, message, args, fields)

    warning_with = warn_with

    def error_with(self, message, *args, **fields):
        self._say(3, message, args, fields)

    def _say(self, level, message, args, fields):
        message = str(message)
        if args:
            try:
                message = message % args
            except (TypeError, ValueError):
                message = '%s %r' % (message, args)
        fields = {**self._fields, **fields}
        number, records, least, trigger = EVENT.get() if EVENT else (NUMBER, RECORDS, LEAST, TRIGGER)
        if records is not None and level >= least:
            records.append({'level': LEVELS[level], 'time': time() * 1000, 'name': trigger, 'message': message, **fields})
        pairs = []
        if PROCESSOR:
            pairs += 'logger', 'processor.%s.w%s.python.logger' % (SETTINGS.get('NUCLIO_TRIGGER_KIND') or 'shared', SETTINGS.get('INDEX', '0'))
        for name, value in fields.items():
            pairs += str(name), json_of(value) if PROCESSOR else str(value)
        meta = '\0'.join([part.replace('\0', '\\0')[:16 << 10] for part in pairs]).encode('utf-8', 'backslashreplace')
        body = message.encode('utf-8', 'backslashreplace')[:MOST_LOG]
        send(pack(len(meta), len(body), LOG, 0, level, number), meta, body)


def with_records(fields, records):
    text = dumped(records, separators=(',', ':'))
    if len(text) >= MOST_FIELD:
        Logger().warn('Logs are too long for a field of the answer')
    else:
        fields.append(('x-nuclio-logs', text))


def text_of_wire(text):
    """Text came as bytes in Latin-1; the handler gets what they mean."""
    if not DECODE:
        return text.encode('latin-1')
    return text if text.isascii() else text.encode('latin-1').decode('utf-8')


class EventDeserializerKinds:
    """What Event.deserialize may be told of its data, which it sees by itself."""

    json, msgpack = 'json', 'msgpack'


class Event:
    """An event. It is made of a request, or by those who call another function."""

    def __init__(self, body=None, content_type=None, trigger=None, fields=None, headers=None, _id=None, method=None, path=None, size=None,
                 timestamp=None, url=None, shard_id=None, num_shards=None, _type=None, type_version=None, version=None, last_in_batch=False,
                 offset=0, topic=None):
        self.body, self.content_type, self.trigger = body, content_type, trigger or TriggerInfo()
        self.fields, self.headers, self.id, self.method, self.path = fields or {}, headers or {}, _id, method, path or '/'
        self.size, self.timestamp, self.url, self.shard_id, self.num_shards = size, timestamp or 0, url, shard_id, num_shards
        self.type, self.type_version, self.version = _type, type_version, version
        self.last_in_batch, self.offset, self.topic = last_in_batch, offset, topic

    def get_header(self, name):
        """The value of a header, by its name in any case; None if it is not there."""
        name = name.lower()
        for key, value in self.headers.items():
            if (key.decode('latin-1') if isinstance(key, bytes) else key).lower() == name:
                return value
        return None

    def __repr__(self):
        return self.to_json()

    def to_json(self):
        facts = {name: getattr(self, name) for name in ATTRIBUTES}
        facts.update({name: value for name, value in self.__dict__.items() if name[0] != '_'})
        facts['trigger'] = {'kind': self.trigger.kind, 'name': self.trigger.name}
        facts['timestamp'] = str(self.timestamp)
        if isinstance(self.body, bytes):
            from base64 import b64encode
            facts['body'] = b64encode(self.body).decode()
        from json import dumps
        return dumps(facts, default=str)

    @staticmethod
    def deserialize(data, kind='json'):
        """An event of a JSON text, or of a dict, whose body is as it is."""
        if not isinstance(data, dict):
            from json import loads
            data = loads(data)
        trigger, at = data.get('trigger') or {}, data.get('timestamp') or 0
        body = data.get('body')
        if isinstance(body, (str, bytes)):
            body = parsed(body, data.get('content_type'))
        known = {RENAMED.get(name, name): data[name] for name in ATTRIBUTES if name in data}
        known.update(body=body, trigger=TriggerInfo(trigger.get('kind', ''), trigger.get('name', '')), timestamp=at if isinstance(at, str) else moment(at))
        return Event(**known)


ATTRIBUTES = ('body', 'content_type', 'trigger', 'fields', 'headers', 'id', 'method', 'path', 'size', 'timestamp', 'url', 'shard_id', 'num_shards',
              'type', 'type_version', 'version', 'last_in_batch', 'offset', 'topic')


RENAMED = {'id': '_id', 'type': '_type'}  # where a parameter is called otherwise than its attribute
Event.from_json = Event.deserialize


def batch_of(body):
    """The events of a batch, which come as a list in JSON with bodies in Base64."""
    from base64 import b64decode
    from json import loads
    events = loads(body)
    for event in events:
        if isinstance(event['body'], str):
            event['body'] = b64decode(event['body'])
    return [Event.deserialize(event) for event in events]


def message_of(req):
    """The event of a message: what is known of it comes as JSON in a field, its body as it is."""
    from json import loads
    facts = loads(req.headers['fnpod-event'])
    facts['body'] = req.body
    event = Event.deserialize(facts)
    if not DECODE:
        for name, value in event.__dict__.items():
            event.__dict__[name] = undecoded(value)
        event.trigger = TriggerInfo(undecoded(event.trigger.kind), undecoded(event.trigger.name))
    return event


def undecoded(value):
    """A value with bytes in the place of text."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {undecoded(key): undecoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [undecoded(item) for item in value]
    return value


class CloudEventError(ValueError):
    """A structured cloud event that cannot be read."""


class RequestEvent(Event):
    """An event of a request. Its parts are made when they are first asked for, as far as nothing can be wrong with them."""

    shard_id, num_shards, offset, last_in_batch = -1, 0, 0, False
    url = type = type_version = version = topic = ''

    def __init__(self, req):
        self._req = req
        head = req._raw[16:req._end]
        if not head.isascii() or b'%' in head:
            self.headers, self.fields, self.path  # what is no text is found now
        if b'cloudevents' in head:
            if req.headers.get('content-type', '').startswith('application/cloudevents'):
                self._structured(req.body)
            elif 'ce-cloudeventsversion' in req.headers:
                self._binary(req.headers)

    @Part
    def id(self):
        bits = int.from_bytes(os.urandom(16), 'big') & ~(0xf << 76 | 3 << 62) | 4 << 76 | 2 << 62
        text = '%032x' % bits
        return text_of_wire('-'.join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))

    @Part
    def body(self):
        return parsed(self._req.body, self._req.headers.get('content-type'))

    @Part
    def size(self):
        return len(self._req.body)

    @Part
    def content_type(self):
        return text_of_wire(self._req.headers.get('content-type', ''))

    @Part
    def method(self):
        return text_of_wire(self._req.method)

    @Part
    def timestamp(self):
        return moment(0 if self._req.scheme.startswith('cron/') else int(self._req._at))

    @Part
    def trigger(self):
        kind, _, name = self._req.scheme.partition('/')
        if not name:
            kind, name = 'http', 'http'
        return TriggerInfo(text_of_wire(kind), text_of_wire(name))

    @Part
    def headers(self):
        headers, fields = {}, self._req._fields
        for i in range(6, len(fields), 2):
            name = '-'.join([part.capitalize() for part in fields[i].split('-')])
            value = text_of_wire(fields[i + 1])
            if name == 'Cookie' and name in headers:
                value = headers[name] + '; ' + value
            headers[text_of_wire(name)] = value
        return headers

    @Part
    def fields(self):
        fields = {}
        if self._req.query:
            for pair in self._req.query.split('&'):
                if pair:
                    name, _, value = pair.partition('=')
                    fields[unquoted(name.replace('+', ' '))] = unquoted(value.replace('+', ' '))
        return fields

    @Part
    def path(self):
        path = self._req.path
        if '//' not in path and '/.' not in path and '%' not in path:
            return text_of_wire(path or '/')
        from urllib.parse import unquote_to_bytes
        parts = []
        names = unquote_to_bytes(path.encode('latin-1')).split(b'/')
        for name in names:
            if name == b'..':
                parts[-1:] = []
            elif name not in (b'', b'.'):
                parts.append(name)
        path = b'/' + b'/'.join(parts) + (b'/' if parts and names[-1] in (b'', b'.', b'..') else b'')
        return path.decode() if DECODE else path

    def _structured(self, body):
        from json import loads
        try:
            facts = loads(body)
            if not isinstance(facts, dict):
                raise ValueError('no object')
            self.timestamp = moment_of(facts.get('eventTime'))
        except ValueError as error:
            raise CloudEventError from error
        data, self.size = facts.get('data'), 0
        source = text_of_wire(str(facts.get('source') or ''))
        self.content_type = str(facts.get('contentType') or '')
        if isinstance(data, str):
            data = data.encode()
            self.size = len(data)
            data = parsed(data, self.content_type)
        self.body, self.headers = data, facts.get('extensions') or {}
        self.trigger = TriggerInfo(source, source)
        self._describe(facts.get('eventID'), facts.get('eventType'), facts.get('eventTypeVersion'), facts.get('cloudEventsVersion'))

    def _binary(self, headers):
        self.trigger = TriggerInfo(headers.get('ce-source', ''), headers.get('ce-name', ''))
        self.timestamp = moment_of(headers.get('ce-eventtime'))
        self._describe(headers.get('ce-eventid'), headers.get('ce-eventtype'), headers.get('ce-eventtypeversion'), headers.get('ce-cloudeventsversion'))

    def _describe(self, id, kind, kind_version, version):
        self.__dict__.update(id=id or '', type=kind or '', type_version=kind_version or '', version=version or '')


RequestEvent.__name__ = RequestEvent.__qualname__ = 'Event'


def unquoted(text):
    if '%' not in text:
        return text_of_wire(text)
    from urllib.parse import unquote_to_bytes
    data = unquote_to_bytes(text.encode('latin-1'))
    return data.decode() if DECODE else data


def parsed(body, kind):
    """A body that says that it is JSON, and is."""
    if kind != 'application/json':
        return body
    from json import loads
    try:
        return loads(body)
    except ValueError as error:
        sys.stderr.write('Failed deserializing json body, error message: %s\n' % error)
        return body


def moment(seconds):
    from datetime import datetime, timedelta
    return datetime(1970, 1, 1) + timedelta(seconds=seconds)


def moment_of(text):
    """Reads a time as RFC 3339 has it, to the second, in UTC."""
    from datetime import datetime, timedelta
    if not text:
        return moment(0)
    if len(text) < 20 or text[10] not in 'Tt ':
        raise ValueError('no time: %r' % text)
    at = datetime.strptime(text[:10] + 'T' + text[11:19], '%Y-%m-%dT%H:%M:%S')
    zone = text[19:].lstrip('.0123456789')
    if zone in ('Z', 'z'):
        return at
    sign = {'+': 1, '-': -1}[zone[0]] if len(zone) == 6 and zone[0] in '+-' else 0
    if not sign:
        raise ValueError('no zone: %r' % text)
    return at - sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[4:]))


# What handlers return.

def answer_of(result):
    """Returns body, status and fields of whatever a handler returned."""
    if isinstance(result, list):  # a batch of one
        result = result[0] if result else ''
    status, kind, fields = 200, 'text/plain', []
    if isinstance(result, tuple) and len(result) == 2:
        status, result = result
        if isinstance(status, bool) or not isinstance(status, int):
            raise TypeError('json: cannot unmarshal %s into the status of a response' % type(status).__name__)
        if not isinstance(result, str):
            kind, result = 'application/json', json_of(result)
    elif isinstance(result, dict):
        kind, result = 'application/json', json_of(result)
    elif hasattr(result, 'status_code') and hasattr(result, 'content_type') and hasattr(result, 'body'):
        status, kind, fields, result = result.status_code or 200, result.content_type, fields_of(result.headers), result.body
        if isinstance(result, dict):
            kind, result = 'application/json', json_of(result)
    if not 200 <= status <= 599:
        raise ValueError('status %d cannot be sent: there are 200 to 599' % status)
    if isinstance(result, str):
        body = text_bytes(result)
    elif isinstance(result, bytes) or hasattr(type(result), '__next__') or hasattr(type(result), '__anext__'):
        body = result
    else:
        body = str(result).encode('utf-8', 'replace')
    fields = [field for field in fields if field[0] != 'content-type']
    fields.append(('content-type', clean(str(kind or 'text/plain'))))
    return body if body != b'' else None, status, fields


BATCH = 'application/vnd.fnpod.batch+json'  # how the parent knows that each event has an answer of its own


def answers_of(results, context):
    """Returns the answers to the events of a batch, as one."""
    from base64 import b64encode
    answers = []
    for result in results if isinstance(results, list) else [results]:
        number = getattr(result, 'event_id', None)
        if number is None:
            context.logger.warn('a response without event_id is no answer to any event of the batch')
            continue
        body, status, fields = answer_of(result)
        if not isinstance(body, (bytes, type(None))):
            body = b''.join([part if isinstance(part, bytes) else part.encode() for part in body])
        answers.append({'event_id': number, 'status_code': status, 'headers': dict(fields), 'body': b64encode(body or b'').decode(), 'body_encoding': 'base64'})
    return json_of(answers).encode(), 200, [('content-type', BATCH)]


def text_bytes(text):
    """Text as UTF-8, with U+FFFD in the place of what is none."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return ''.join(['\ufffd' if '\ud800' <= c <= '\udfff' else c for c in text]).encode()


UNSENT = ('content-length', 'transfer-encoding', 'connection', 'date', 'keep-alive', 'upgrade', 'trailer', 'te')


def fields_of(headers):
    """Returns what can be sent of a handler's headers: text under names that are tokens."""
    fields = []
    for name, value in headers.items() if hasattr(headers, 'items') else ():
        lower = str(name).lower()
        if isinstance(value, str) and lower and TOKEN.issuperset(lower) and lower not in UNSENT:
            fields.append((lower, clean(value)))
    return fields


def clean(value):
    """A value without line breaks and other control characters."""
    if not value.isprintable():
        value = ''.join([c if c >= ' ' and c != '\x7f' or c == '\t' else ' ' for c in value])
    return value.strip(' \t') if value.isascii() else value.encode('utf-8', 'replace').decode('latin-1').strip(' \t')


def json_of(value):
    return dumped(value)


def dumped(value, **how):
    from json import dumps
    try:
        return dumps(value, allow_nan=False, default=repr, **how)
    except (ValueError, TypeError):
        return dumps(finite(value), default=repr, skipkeys=True, **how)


def finite(value):
    """A value whose numbers are all numbers of JSON."""
    if isinstance(value, float) and not value - value == 0:
        return 'NaN' if value != value else 'Infinity' if value > 0 else '-Infinity'
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
