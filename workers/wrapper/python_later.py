"""What a Python worker needs beyond small plain answers. Compiled on first use, into the namespace of python.py."""

LIMIT = 1 << 20  # of meta and of body in one frame
DEFERRED = b''   # frames that arrived in the middle of a request and can wait until it is answered
EXPECTED = 'str, bytes, None, dict, list, (body, status[, headers]), Response, or an iterator of str or bytes'
TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class Cancelled(Exception):
    """The parent has no use for the answer any more."""


class UnusableResult(TypeError):
    """The handler returned something that is no answer."""


# Frames in.

def die(why):
    """Ends the worker at once: the pipes cannot be trusted any more."""
    sys.stderr.write('fnpod worker: %s\n' % why)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(1)


def size_of(meta, body, flags):
    inline = 0 if flags & LANE else body
    if meta > LIMIT or inline > LIMIT:
        die('frame too long: %d bytes of meta, %d of body' % (meta, inline))
    return 16 + meta + inline


def fill(data, size):
    """Reads until data has size bytes."""
    parts, have = [data], len(data)
    while have < size:
        part = os.read(IN, max(65536, size - have))
        if not part:
            if have:
                die('request pipe ended inside a frame')
            raise Leave
        parts.append(part)
        have += len(part)
    return b''.join(parts)


def frame():
    """Returns the next frame: type, flags, id, its bytes, where its body starts, the body's length."""
    global REST
    data = fill(REST, 16)
    meta, body, kind, flags, _, number = unpack(data)
    size = size_of(meta, body, flags)
    data = fill(data, size)
    REST = data[size:]
    return kind, flags, number, data[:size], 16 + meta, body


def next_request(data):
    """Returns the next whole request and deals with everything that comes before it."""
    global REST
    REST = data
    while True:
        kind, flags, number, raw, end, size = frame()
        if kind != REQUEST:
            control(kind)
            continue
        req = Request(raw, end, time(), number)
        if flags & LANE:
            req.body = from_lane(size)
        elif flags & MORE:
            try:
                req.body = gather(number, raw[end:])
            except Cancelled as error:
                fail(number, error)
                continue
        return req


def control(kind):
    """A frame between two requests. What belongs to a request that is answered already came late and is ignored."""
    if kind == PING:
        pong(0)
    elif kind == DRAIN:
        say(BYE, 0)
        raise Leave
    elif kind == EXIT:
        raise Leave
    elif kind not in (DATA, TRAILERS, CANCEL, WINDOW) and kind < 0x80:
        die('unknown frame type 0x%02x' % kind)


def gather(number, first):
    """Collects a body sent in pieces; the parent may send on as pieces are taken."""
    parts, taken = [first], 0
    try:
        while True:
            kind, flags, data = own_frame(number) or (0, 0, b'')
            if kind == DATA:
                parts.append(data)
                taken += len(data)
                if not flags & MORE:
                    break
                if taken >= CREDIT // 2:
                    window(number, taken)
                    taken = 0
            elif kind == TRAILERS:
                break
        return b''.join(parts)
    finally:
        resume()


def own_frame(number):
    """Reads one frame; returns it if it belongs to the request, else None: others wait until that is answered."""
    global DEFERRED
    kind, flags, other, raw, end, _ = frame()
    if kind == PING:
        pong(1)
    elif other != number:
        DEFERRED += raw
    elif kind == CANCEL:
        raise Cancelled('the request was cancelled')
    elif kind in (DATA, TRAILERS, WINDOW):
        return kind, flags, raw[end:]
    elif kind < 0x80:
        die('unexpected frame type 0x%02x in request %d' % (kind, number))
    return None


def resume():
    global DEFERRED, REST
    REST, DEFERRED = DEFERRED + REST, b''


def window(number, size):
    send(pack(0, 4, WINDOW, 0, 0, number), size.to_bytes(4, 'little'))


def granted(data):
    if len(data) != 4:
        die('WINDOW with %d bytes' % len(data))
    return int.from_bytes(data, 'little')


def pong(running):
    with open('/proc/self/statm', 'rb') as f:
        rss = int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    say(PONG, 0, 'rss', str(rss), 'in_flight', str(running))


# The lane.

def lane():
    from mmap import mmap
    memory = mmap(LANE_FD, LANE_IN + LANE_OUT)
    globals()['lane'] = lambda: memory
    return memory


def from_lane(size):
    if size > LANE_IN:
        die('body of %d bytes in a lane of %d' % (size, LANE_IN))
    return lane()[:size]


# Answers.

def answer(number, result):
    """Sends whatever a handler may return."""
    try:
        if hasattr(result, '__await__'):
            result = settle(result)
        status, pairs, body = render(result)
    except BaseException as error:
        return fail(number, error)
    if type(body) is bytes:
        answer_bytes(number, status, pairs, body)
    else:
        stream(number, status, pairs, body)


def render(result):
    """Returns status, meta block and body of a result; for a stream the body is an iterator and the meta a list."""
    status = fields = None
    if isinstance(result, Response):
        result, status, fields = result.body, result.status, result.headers
    elif isinstance(result, tuple):
        if not 2 <= len(result) <= 3:
            raise UnusableResult('handler returned a tuple of %d; expected (body, status) or (body, status, headers)'
                                 % len(result))
        result, status, fields = (result + (None,))[:3]
    if status is None:
        status = 204 if result is None else 200
    elif isinstance(status, bool) or not isinstance(status, int):
        raise UnusableResult('handler returned a %s as status; expected an int' % type(status).__name__)
    elif not 200 <= status <= 599:
        raise UnusableResult('handler returned status %d; expected 200 to 599' % status)
    body, default = payload(result)
    if default is not None:
        if not fields:
            return int(status), default, body
        return int(status), meta_of(pairs_of(fields), default), body
    return int(status), pairs_of(fields), body


def payload(result):
    """Returns the body and the header it implies; None as header when that depends on the first item."""
    if result is None:
        return b'', b''
    if isinstance(result, str):
        return result.encode(), TEXT
    if isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result), BINARY
    if isinstance(result, (dict, list)):
        return encode_json(result).encode(), b'content-type\0application/json'
    kind = type(result)
    if callable(getattr(result, 'read', None)) and hasattr(kind, '__next__'):
        return chunks_of(result), None
    if hasattr(kind, '__next__') or hasattr(kind, '__anext__'):
        return result, None
    if hasattr(kind, '__aiter__'):
        return result.__aiter__(), None
    raise UnusableResult('handler returned a %s; expected %s' % (kind.__name__, EXPECTED))


def encode_json(value):
    global encode_json
    from json import JSONEncoder
    plain = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(',', ':')).encode
    escaped = JSONEncoder(allow_nan=False, separators=(',', ':')).encode

    def encode_json(value):
        try:
            text = plain(value)
            return text if text.isascii() or '\ud800' > max(text) else escaped(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise UnusableResult('handler returned a %s that is not JSON: %s' % (type(value).__name__, error)) from None
    return encode_json(value)


def chunks_of(file):
    """Reads an open file in pieces and closes it."""
    with file:
        while True:
            part = file.read(PIECE)
            if not part:
                return
            yield part


def pairs_of(fields):
    """Returns checked name, value, name, value of a mapping or of pairs; a list as value repeats the name."""
    pairs = []
    if not fields:
        return pairs
    for name, value in fields.items() if hasattr(fields, 'items') else fields:
        name = text_of(name, 'name').lower()
        if not name or not TOKEN.issuperset(name):
            raise UnusableResult('handler returned a header with the name %r' % name)
        for item in value if isinstance(value, (list, tuple)) else (value,):
            item = text_of(item, 'value of ' + name)
            if '\r' in item or '\n' in item or '\0' in item:
                raise UnusableResult('handler returned a line break or NUL in the header ' + name)
            pairs += name, item
    return pairs


def text_of(value, what):
    if isinstance(value, bytes):
        return value.decode('latin-1')
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str):
        raise UnusableResult('handler returned a %s as header %s; expected str' % (type(value).__name__, what))
    try:
        value.encode('latin-1')
    except UnicodeEncodeError:
        raise UnusableResult('handler returned a header %s with characters beyond latin-1' % what) from None
    return value


def meta_of(pairs, default):
    """Joins header pairs; the handler's content type wins over the implied one."""
    meta = '\0'.join(pairs).encode('latin-1')
    if default and 'content-type' not in pairs[::2]:
        meta = default + b'\0' + meta if meta else default
    if len(meta) > LIMIT:
        raise UnusableResult('handler returned %d bytes of headers; the limit is %d' % (len(meta), LIMIT))
    return meta


def answer_bytes(number, status, meta, body):
    size = len(body)
    if size <= INLINE:
        send(pack(len(meta), size, RESPONSE, 0, status, number), meta, body)
    elif size <= LANE_OUT:
        lane()[LANE_IN:LANE_IN + size] = body
        send(pack(len(meta), size, RESPONSE, LANE, status, number), meta)
    else:
        credit = Credit(number)
        try:
            send(more(number, status, sized(meta, size)))
            credit.spend(body)
            send(pack(0, 0, DATA, 0, 0, number))
        except Cancelled as error:
            fail(number, error)
        finally:
            resume()


def more(number, status, meta):
    return pack(len(meta), 0, RESPONSE, MORE, status, number) + meta


def sized(meta, size):
    """Adds the length of a body that is whole here but sent in pieces."""
    pairs = meta.split(b'\0') if meta else []
    kept = [p for i in range(0, len(pairs), 2) if pairs[i] != b'content-length' for p in pairs[i:i + 2]]
    return b'\0'.join(kept + [b'content-length', b'%d' % size])


class Credit:
    """What may be sent of one answer before the parent has taken some of it."""

    def __init__(self, number):
        self.number = number
        self.left = CREDIT
        self.poll = None

    def spend(self, data, ahead=b''):
        """Sends data in pieces, right behind the frame ahead, and waits for the parent where it must."""
        data = memoryview(data)
        while data:
            while self.left <= 0:
                if ahead:
                    send(ahead)
                    ahead = b''
                self.wait()
            n = min(len(data), PIECE, self.left)
            send(ahead, pack(0, n, DATA, MORE, 0, self.number), data[:n])
            ahead, data = b'', data[n:]
            self.left -= n
        if ahead:
            send(ahead)

    def wait(self):
        kind, _, data = own_frame(self.number) or (0, 0, b'')
        if kind == WINDOW:
            self.left += granted(data)

    def look(self):
        """Takes what the parent has sent meanwhile; raises Cancelled when it has given up."""
        if self.poll is None:
            from select import POLLIN, poll
            self.poll = poll()
            self.poll.register(IN, POLLIN)
        while REST or self.poll.poll(0):
            self.wait()


def stream(number, status, pairs, items):
    """Sends the items of an iterator as they come. The head goes with the first, so that an early error is a 500."""
    head = True
    credit = Credit(number)
    step = items.__next__ if hasattr(items, '__next__') else lambda: settle(items.__anext__())
    try:
        while True:
            try:
                item = step()
            except (StopIteration, StopAsyncIteration):
                break
            data, default = piece(item)
            credit.spend(data, more(number, status, meta_of(pairs, default)) if head else b'')
            head = False
            credit.look()
        if head:
            meta = meta_of(pairs, b'')
            send(pack(len(meta), 0, RESPONSE, 0, status, number), meta)
        else:
            send(pack(0, 0, DATA, 0, 0, number))
    except Leave:
        raise
    except BaseException as error:
        fail(number, error)
    finally:
        close(items)
        resume()


def piece(item):
    """Returns the bytes of one streamed item and the content type it implies."""
    if isinstance(item, str):
        return item.encode(), TEXT
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item), BINARY
    raise UnusableResult('handler yielded a %s; expected str or bytes' % type(item).__name__)


def close(items):
    """Ends a generator that was not read to its end; what it raises then can reach nobody but the log."""
    try:
        if hasattr(items, 'aclose'):
            settle(items.aclose())
        elif hasattr(items, 'close'):
            items.close()
    except BaseException as error:
        complain(error)


def complain(error):
    sys.stderr.write(describe(error)[2])
    sys.stderr.flush()


# Errors.

def fail(number, error):
    """Answers a request with the exception its handler raised."""
    name, message, trace = describe(error)
    meta = meta_bytes('type', name, 'message', message)
    trace = trace.encode('utf-8', 'backslashreplace')
    send(pack(len(meta), len(trace), ERROR, 0, 500, number), meta, trace)


def init_error(file, error):
    """Reports why the handler cannot be used, and ends the worker."""
    if isinstance(error, OSError) and error.filename == file:
        error = type(error)(error.errno, 'cannot read the handler: ' + str(error.strerror), file)
    name, message, trace = describe(error)
    meta = meta_bytes('type', name, 'message', message)
    trace = trace.encode('utf-8', 'backslashreplace')
    send(pack(len(meta), len(trace), INIT_ERROR, 0, 0, 0), meta, trace)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(1)


def meta_bytes(*pairs):
    return '\0'.join([p.replace('\0', '\\0') for p in pairs]).encode('utf-8', 'backslashreplace')


def describe(error):
    """Returns type, message and traceback of an exception, without the frames of the wrapper."""
    kind = type(error)
    name = kind.__qualname__
    if isinstance(error, Cancelled):
        name = 'cancelled'
    elif kind.__module__ not in ('builtins', '__main__', '__zygote__'):
        name = kind.__module__ + '.' + name
    try:
        message = str(error)
    except BaseException:
        message = '(its __str__ failed)'
    if isinstance(error, SystemExit):
        message = 'the handler called exit(%s)' % message
    try:
        if isinstance(error, (Cancelled, UnusableResult)):
            trace = '%s: %s\n' % (name, message)
        else:
            from traceback import format_exception
            trim(error)
            trace = ''.join(format_exception(kind, error, error.__traceback__))
    except BaseException:
        trace = '%s: %s\n' % (name, message)
    if len(message) > 1000:
        message = message[:1000] + '…'
    if len(trace) > 8000:
        trace = trace[:2000] + '\n[…]\n' + trace[-5900:]
    return name, message, trace


def trim(error):
    """Takes the frames of the wrapper and of the import machinery out of an exception and of those that led to it."""
    waiting, seen = [error], set()
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += error.__cause__, error.__context__
        first = last = None
        at = error.__traceback__
        while at:
            code = at.tb_frame.f_code
            if at.tb_frame.f_globals is not globals() and not code.co_filename.startswith('<frozen importlib'):
                if last:
                    last.tb_next = at
                else:
                    first = at
                last = at
            at = at.tb_next
        if last:
            last.tb_next = None
        error.__traceback__ = first


# Handlers that are more than a plain function.

def choose(module, handle, file, name, limit):
    """Checks a handler and returns it with the loop that fits it."""
    if handle is None:
        there = [n for n, v in vars(module).items()
                 if callable(v) and not n.startswith('_') and getattr(v, '__module__', '') == module.__name__]
        raise LookupError('%s has no function %r; it has %s'
                          % (os.path.basename(file), name, ', '.join(there) or 'none at all'))
    if not callable(handle):
        raise TypeError('%r in %s is a %s, not a function' % (name, os.path.basename(file), type(handle).__name__))
    if is_async(handle):
        event_loop()  # before init, so that what it creates belongs to this loop
        mux = later('ASYNC')['Mux']
        return handle, lambda handle: mux(handle, limit).run()
    return handle, serve


def is_async(handle):
    """Reports whether what a handler returns has to be awaited, whatever kind of callable it is."""
    while hasattr(handle, 'func') and callable(handle.func):  # functools.partial
        handle = handle.func
    if not hasattr(handle, '__code__'):
        handle = getattr(type(handle), '__call__', handle)
    return getattr(getattr(handle, '__code__', None), 'co_flags', 0) & 0x280


def event_loop():
    global event_loop
    from asyncio import get_event_loop, new_event_loop, set_event_loop
    # Until 3.10, what a handler's module creates is bound to the loop that get_event_loop returns.
    loop = get_event_loop() if sys.version_info < (3, 10) else new_event_loop()
    set_event_loop(loop)
    event_loop = lambda: loop
    return loop


def settle(awaitable):
    """Waits for something awaitable that a plain function or init returned."""
    async def wait():
        return await awaitable
    return event_loop().run_until_complete(wait())
