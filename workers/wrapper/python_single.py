"""A request per process. This part is put into python.py, in the place of its last line.

The program is run once, and with it the handler's module: by a zygote, each of whose children calls request(), or by a process
of its own. A request is a REQUEST frame on standard input, whose body goes on to the end; the answer is the frame of an answer
on what was standard output, likewise. What the handler prints goes where standard error goes.
"""
HANDLER = None


def prepare():
    """Imports the handler's module. What that raises ends the program, with a traceback."""
    global SETTINGS, HANDLER
    SETTINGS = {key[13:]: os.environ.pop(key) for key in list(os.environ) if key.startswith('FNPOD_WORKER_')}
    file, _, name = SETTINGS['HANDLER'].rpartition(':')
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True, errors='backslashreplace')
    if __file__.startswith('/proc/self/fd/'):
        os.close(int(__file__.rpartition('/')[2]))  # this program's own, which has been read
    later()
    os.register_at_fork(after_in_child=leave_pipe)
    try:
        module = load(file)
        handle = module
        for part in name.split('.'):
            handle = getattr(handle, part, None)
        HANDLER = contract(module, choose(module, handle, file, name, 1)[0])
    except Exception as error:
        sys.exit(describe(error)[2].rstrip('\n'))
    if __name__ != '__main__':  # children of this process have them then
        import json  # which many answers need, and this one what is raised
        import traceback


def leave_pipe():
    """A process forked by the handler must not hold the answer's pipe open."""
    global OUT
    if OUT >= 0:
        os.close(OUT)
        OUT = -1


def request():
    """Runs the handler for the one request of this process."""
    global OUT
    OUT = os.dup(1)  # which no other program inherits; it is open until the end, so that an answer does not wait for the exit code
    os.dup2(2, 1)
    parts = []
    while True:
        part = os.read(0, 65536)
        if not part:
            break
        parts.append(part)
    raw = b''.join(parts)
    req = Request(raw, 16 + unpack(raw)[0], time(), 1)
    try:
        result = HANDLER(req)
        if hasattr(result, '__await__'):
            result = settle(result)
        status, fields, body = render(result)
    except BaseException as error:
        return raised(error)
    if type(body) is bytes:
        known = len(body) < 1 << 32
        send(pack(len(fields), len(body) if known else 0, RESPONSE, 0 if known else MORE, status, 1), fields, body)
    else:
        send_items(status, fields, body)


def raised(error):
    """Tells what the handler raised instead of answering; the traceback goes to the log alone."""
    name, message, trace = describe(error)
    if isinstance(error, UnusableBody):
        sys.stderr.write('Function was not called: %s\n' % message)
    else:
        sys.stderr.write('Function returned an exception: %s\n%s' % (message, trace))
    meta = meta_bytes('type', name, 'message', message)
    send(pack(len(meta), 0, ERROR, 0, 500, 1), meta)


def send_items(status, fields, items):
    """Sends the items of an iterator as they come. An error after the first one ends the process, which cuts the answer."""
    begun = False
    step = items.__next__ if hasattr(items, '__next__') else lambda: settle(items.__anext__())
    while True:
        try:
            data, kind = piece(step())
        except (StopIteration, StopAsyncIteration):
            break
        except BaseException as error:
            if begun:
                raise
            return raised(error)
        if not begun:
            meta = meta_of(fields, kind)
            send(pack(len(meta), 0, RESPONSE, MORE, status, 1), meta)
            begun = True
        send(data)
    if not begun:
        meta = meta_of(fields, b'')
        send(pack(len(meta), 0, RESPONSE, MORE, status, 1), meta)
    close(items)


prepare()
if __name__ == '__main__':
    request()
