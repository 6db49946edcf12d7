"""A wrapper as Nuclio's processor starts it: it does what the body of an event says, to the byte."""
import json, os, signal, socket, struct, sys, time

options = dict(zip(sys.argv[1::2], sys.argv[2::2]))


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    return s


def exactly(n):
    data = b''
    while len(data) < n:
        part = events.recv(n - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


class Packed:
    """MessagePack, as far as events have it."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self):
        kind = self.take(1)[0]
        if kind < 0x90:
            return self.pairs(kind & 15)
        if kind < 0xa0:
            return [self.value() for _ in range(kind & 15)]
        if kind < 0xc0:
            return self.take(kind & 31).decode('utf-8', 'surrogateescape')
        if kind in (0xc0, 0xc2, 0xc3):
            return {0xc0: None, 0xc2: False, 0xc3: True}[kind]
        if kind in (0xcb, 0xd3):
            return struct.unpack({0xcb: '>d', 0xd3: '>q'}[kind], self.take(8))[0]
        size = int.from_bytes(self.take({0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdb: 4, 0xdc: 2, 0xdd: 4, 0xde: 2, 0xdf: 4}[kind]), 'big')
        if kind in (0xc4, 0xc5, 0xc6):
            return self.take(size)
        if kind in (0xd9, 0xda, 0xdb):
            return self.take(size).decode('utf-8', 'surrogateescape')
        if kind in (0xdc, 0xdd):
            return [self.value() for _ in range(size)]
        return self.pairs(size)

    def pairs(self, n):
        return {self.value(): self.value() for _ in range(n)}


def say(kind, value):
    events.sendall(kind + json.dumps(value).encode() + b'\n')


if os.path.exists(os.environ.get('BROKEN', '')):
    sys.exit(7)
signal.signal(signal.SIGUSR1, lambda *_: print('called back', flush=True))
events = connect(options['--event-socket-path'])
control = connect(options['--control-socket-path'])
say(b'l', {'level': 'info', 'message': 'starting', 'with': {'a': 1}})
events.sendall(b's\n')
control.sendall(b'{"kind": "wrapperInitialized", "attributes": {"ready": "true"}}\nnonsense\n')
while True:
    size = struct.unpack('>i', exactly(4))[0]
    event = Packed(exactly(size)).value()
    path, body = event['path'], event['body']
    if event['trigger']['kind'] in ('nats', 'mqtt'):
        shown = dict(event, body=body.decode('latin-1'), **event['trigger'])
        print('event-' + shown['kind'], json.dumps(shown), flush=True)
        say(b'r', {'body_encoding': 'text'})
    elif path == '/raw':
        events.sendall(body)
    elif path == '/event':
        event['body'] = body.decode('latin-1') if isinstance(body, bytes) else body
        event['pid'], event['args'], event['pythonpath'] = os.getpid(), sys.argv[1:], os.environ['PYTHONPATH']
        say(b'm', {'duration': 0.1})
        say(b'r', {'status_code': 200, 'content_type': 'application/json', 'headers': {}, 'body': json.dumps(event), 'body_encoding': 'text'})
    elif path == '/close':
        events.close()
        time.sleep(100)
    elif path == '/exit':
        os._exit(int(body))
    elif path == '/sleep':
        time.sleep(float(body))
        say(b'r', {'body': 'slept', 'body_encoding': 'text'})
    elif path == '/control':
        control.sendall(body + b'\n')
        say(b'r', {'body_encoding': 'text'})
