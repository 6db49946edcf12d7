"""The Python side of a warm worker: reads request frames from one pipe, calls the handler, writes answer frames.

Frames are described in docs/worker-protocol.md, the handler contract in docs/handlers.md. This part is what every
start needs, so it is short and imports next to nothing; the rest lies in LATER and ASYNC and is compiled on first use.
"""
import os
import sys
from _struct import Struct
from time import monotonic, time

LATER = ""
ASYNC = ""
CONTRACT = 'native'  # how handlers are called; the part for another one comes before the last line
SETTINGS = {}        # what we were told, by names of variables
contract = None      # set by that part: returns a native handler around a handler of a module
FUNCTION = 'handle'  # the handler, unless it is named

REQUEST, DATA, TRAILERS, CANCEL, WINDOW, DRAIN, EXIT, PING = 1, 2, 3, 4, 5, 7, 8, 9
HELLO, READY, INIT_ERROR, RESPONSE, ERROR, PONG, BYE = 0x11, 0x12, 0x13, 0x21, 0x22, 0x29, 0x2F
LANE, MORE = 1, 2
INLINE, PIECE, CREDIT = 8 << 10, 64 << 10, 256 << 10

TEXT = b'content-type\0text/plain; charset=utf-8'
BINARY = b'content-type\0application/octet-stream'

header = Struct('<IIBBHI')  # meta length, body length, type, flags, code, id
pack, unpack = header.pack, header.unpack_from
glance = Struct('<IIII').unpack_from  # type, flags and code as one: 1 is a request without flags

IN = OUT = -1
LANE_FD, LANE_IN, LANE_OUT = -1, 0, 0  # the shared memory for large bodies: window sizes, requests first
REST = b''  # bytes read but not looked at yet; only the sync loop uses it


class Leave(BaseException):
    """The worker's time is over: it ends as any Python program does."""


class Headers(dict):
    """Request headers: names in any case; the values of a repeated name joined, or apart with get_all."""

    __slots__ = ('_fields',)

    def __missing__(self, name):
        lower = name.lower()
        if lower != name:
            return self[lower]
        raise KeyError(name)

    def __contains__(self, name):
        return dict.__contains__(self, name.lower())

    def get(self, name, default=None):
        return dict.get(self, name.lower(), default)

    def get_all(self, name):
        """All values of a repeated name, in order; empty when there is none."""
        name, fields = name.lower(), self._fields
        return [fields[i + 1] for i in range(6, len(fields), 2) if fields[i] == name]


class Part:
    """An attribute that is computed when it is first asked for."""

    __slots__ = ('compute', 'name')

    def __init__(self, compute):
        self.compute = compute
        self.name = compute.__name__

    def __get__(self, req, owner):
        if req is None:
            return self
        value = req.__dict__[self.name] = self.compute(req)
        return value


class Request:
    """One request. Its parts are decoded when they are first asked for."""

    __slots__ = ('_raw', '_end', '_at', '_number', '__dict__', '__weakref__')

    def __init__(self, raw, end, at, number):
        self._raw = raw        # the frame; its meta block ends at _end, an inline body follows
        self._end = end
        self._at = at
        self._number = number

    @Part
    def method(self):
        return self._fields[0]

    @Part
    def path(self):
        return self._fields[1]

    @Part
    def query(self):
        return self._fields[2]

    @Part
    def scheme(self):
        return self._fields[3].partition(' ')[0]

    @Part
    def host(self):
        return self._fields[3].partition(' ')[2]

    @Part
    def peer(self):
        return self._fields[4]

    @Part
    def body(self):
        return self._raw[self._end:]

    @Part
    def _fields(self):  # six strings, then names and values
        return self._raw[16:self._end].decode('latin-1').split('\0')

    @Part
    def headers(self):
        fields = self._fields
        names = iter(fields[6:])
        headers = Headers(zip(names, names))
        headers._fields = fields
        if len(headers) * 2 != len(fields) - 6:
            for name in headers:
                headers[name] = ('; ' if name == 'cookie' else ', ').join(headers.get_all(name))
        return headers

    @Part
    def deadline(self):
        left = self._fields[5]
        return self._at + int(left) / 1000 if left else None

    @Part
    def id(self):
        return self.headers.get('x-request-id') or str(self._number)

    @Part
    def args(self):
        from urllib.parse import parse_qs
        return parse_qs(self.query, keep_blank_values=True)

    def remaining(self):
        """Seconds until the deadline, never below 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time())

    def text(self):
        """The body as str, in the charset of its content type, else UTF-8."""
        _, _, charset = self.headers.get('content-type', '').lower().partition('charset=')
        return self.body.decode(charset.partition(';')[0].strip(' "\'') or 'utf-8')

    def json(self):
        """The body parsed as JSON; raises ValueError when it is not."""
        from json import loads
        return loads(self.body)

    def __repr__(self):
        return '<Request %s %s>' % (self.method, self.path)


class Response:
    """An answer with status and headers; headers is a mapping or a list of (name, value) pairs."""

    __slots__ = ('body', 'status', 'headers')

    def __init__(self, body=None, status=None, headers=None):
        self.body = body
        self.status = status
        self.headers = headers


def later(part='LATER'):
    """Compiles a part of the wrapper into this module, once, and returns its names."""
    names = globals()
    code = names[part]
    if code:
        names[part] = ''
        exec(compile(code, '<fnpod>', 'exec') if type(code) is str else code, names)
    return names


def send(*frame):
    """Writes all bytes of a frame, however the pipe takes them."""
    finish(b''.join(frame), 0)


def finish(out, done):
    while done < len(out):
        done += os.write(OUT, memoryview(out)[done:])


def say(kind, code, *pairs):
    meta = '\0'.join(pairs).encode('utf-8', 'backslashreplace')
    send(pack(len(meta), 0, kind, 0, code, 0), meta)


def serve(handle):
    """Runs requests one after the other: one read and one write each, as long as they are small and whole."""
    read, write, clock, fd, out_fd = os.read, os.write, time, IN, OUT
    while True:
        data = REST or read(fd, 65536)
        word = 0
        if len(data) >= 16:
            end, body, word, number = glance(data)
            end += 16
        if word == REQUEST and len(data) == end + body and not REST:
            req = Request(data, end, clock(), number)
        else:
            req = later()['next_request'](data)
            number = req._number
        try:
            result = handle(req)
            if type(result) is str:
                body, meta = result.encode(), TEXT
            elif type(result) is bytes:
                body, meta = result, BINARY
            else:
                meta = None
        except BaseException as error:
            later()['fail'](number, error)
            continue
        if meta is None:
            later()['answer'](number, result)
        elif len(body) > INLINE:
            later()['answer_bytes'](number, 200, meta, body)
        else:
            out = pack(len(meta), len(body), RESPONSE, 0, 200, number) + meta + body
            done = write(out_fd, out)
            if done != len(out):
                finish(out, done)
        req = result = body = data = None  # nothing of a request outlives it


def load(file):
    """Imports the handler's file; its folder comes first in the module search path."""
    from _frozen_importlib import module_from_spec
    from _frozen_importlib_external import SourceFileLoader, spec_from_file_location
    folder, _, base = file.rpartition('/')
    if not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False)):
        del sys.path[0]  # the interpreter put it there for this file
    sys.path.insert(0, folder or '/')
    stem = base[:-3] if base.endswith('.py') else base
    if stem in sys.modules or '.' in stem:
        stem = 'handler_' + stem.replace('.', '_')
    module = module_from_spec(spec_from_file_location(stem, file, loader=SourceFileLoader(stem, file)))
    sys.modules[stem] = module
    module.__spec__.loader.exec_module(module)
    return module


def forked():
    """A process forked by the handler must neither hold nor speak on the worker's pipes."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, IN, False)
    os.dup2(null, OUT, False)
    os.close(null)


def setup():
    """Takes the settings out of the environment, so that neither the handler nor its children see them."""
    global IN, OUT, LANE_FD, LANE_IN, LANE_OUT, CONTRACT, SETTINGS
    SETTINGS = env = {key[13:]: os.environ.pop(key) for key in list(os.environ) if key.startswith('FNPOD_WORKER_')}
    try:
        first, _, last = env['PROTOCOL'].partition('-')
        IN, OUT = map(int, env['FDS'].split(','))
        LANE_FD, LANE_IN, LANE_OUT = map(int, env.get('LANE', '-1,0,0').split(','))
        file, _, name = env['HANDLER'].rpartition(':')
        limit = int(env.get('CONCURRENCY', 1))
        CONTRACT = env.get('CONTRACT', CONTRACT)
        spoken = int(first) <= 1 <= int(last)
    except (KeyError, ValueError) as error:
        sys.exit('fnpod: this file is started by fnpod as a worker (%r)' % error)
    if not spoken:
        sys.exit('fnpod: the worker speaks protocol 1, not %s' % env['PROTOCOL'])
    for fd in {IN, OUT, LANE_FD, 3, 4, 5, 6}:
        try:
            os.set_inheritable(fd, False)
        except OSError:
            pass
    os.set_blocking(IN, True)
    os.set_blocking(OUT, True)
    os.register_at_fork(after_in_child=forked)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True, errors='backslashreplace')
    own = type(sys)('fnpod', 'What fnpod offers to handlers.')
    own.Request, own.Response = Request, Response
    sys.modules['fnpod'] = own
    return file, name or FUNCTION, limit


def main():
    file, name, limit = setup()
    say(HELLO, 1, 'language', 'python', 'runtime', sys.version.split()[0], 'pid', str(os.getpid()),
        'features', 'lane,mux,stream')
    start, serve_handler = time(), serve
    try:
        module = load(file)
        handle = module
        for part in name.split('.'):
            handle = getattr(handle, part, None)
        code = getattr(handle, '__code__', None)
        if code is None or code.co_flags & 0x280:  # not a plain function: missing, an object, or async
            handle, serve_handler = later()['choose'](module, handle, file, name, limit)
        init = getattr(module, 'init', None)
        if contract:
            handle, serve_handler = later()['choose'](module, contract(module, handle), file, name, limit)
        elif callable(init) and init is not handle:
            result = init()
            if hasattr(result, '__await__'):
                later()['settle'](result)
    except BaseException as error:
        later()['init_error'](file, error)
    say(READY, limit if serve_handler is not serve else 1, 'handler', os.path.basename(file) + ':' + name,
        'init_ms', str(round((time() - start) * 1000)))
    try:
        serve_handler(handle)
    except Leave:
        pass
    except OSError as error:
        later()['die']('pipe: %s' % error)


main()
