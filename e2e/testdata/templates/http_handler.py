"""A handler of python3-http that has an answer of every kind; the path says which."""
import datetime
import decimal
import json
import uuid


def stream():
    yield 'a'
    yield b'b'
    yield 'ü'


def seen(event, context):
    h, q = event.headers, event.query
    missing = []
    for get in (lambda: h['None'], lambda: q['none']):
        try:
            get()
        except KeyError:
            missing.append('KeyError')
    skip = ('Connection', 'Transfer-Encoding', 'Content-Length', 'Accept-Encoding', 'Host', 'X-Request-Id')  # of the way here
    return {'body': json.dumps([
        event.method, event.path, event.body.decode('latin-1'), context.hostname,
        sorted(p for p in h if p[0] not in skip), sorted(n for n in h.keys() if n not in skip), h.get('x-a'), h.get('X-N', type=int),
        h.get('x-a', type=int), h.get('none'), h.get('none', 5), 'x-A' in h, 'none' in h, h.getlist('X-A'), sorted((n, v) for n, v in dict(h).items() if n not in skip),
        q.get('a'), q.getlist('a'), q.getlist('a', type=int), q.get('n', type=int), q.get('a', 7, type=int), q.get('none', 'd'),
        list(q), list(q.keys()), list(q.values()), list(q.items()), list(q.items(multi=True)), q.to_dict(), q.to_dict(flat=False), list(q.lists()),
        list(q.listvalues()), len(q), 'a' in q, bool(q), {k: q[k] for k in q}, missing], sort_keys=True)}


ANSWERS = {
    '/none': lambda: None, '/str': lambda: 'grüß', '/bytes': lambda: b'\x00\xff', '/bytearray': lambda: bytearray(b'ab'), '/empty': lambda: '',
    '/stream': stream, '/iterator': lambda: iter(['a', 'b']), '/map': lambda: map(str, [1, 2]),
    '/status': lambda: ('no', 404), '/status-text': lambda: ('no', '404 Not There'), '/204': lambda: ('', 204), '/599': lambda: ('x', 599),
    '/headers': lambda: ('a', {'X-A': 1, 'content-type': 'text/plain'}), '/all': lambda: (b'a', 201, {'X-A': 'b'}),
    '/pairs': lambda: ('a', 200, [('X-A', 'a'), ('x-b', 'b')]), '/stream-all': lambda: (stream(), 202, {'X-A': 'b'}),
    '/list': lambda: [1, 'ü', None, {'b': 1, 'a': 2}], '/dict-status': lambda: ({'b': 1, 'a': 'ü'}, 202), '/list-status': lambda: ([], 203),
    '/kinds': lambda: [datetime.datetime(2026, 1, 2, 3, 4, 5), datetime.date(2026, 1, 2), decimal.Decimal('1.50'), uuid.UUID(int=5), float('nan'), 1e20],
    '/dict': lambda: {}, '/other-keys': lambda: {'answer': 42}, '/code': lambda: {'statusCode': 201}, '/code-text': lambda: {'statusCode': '201', 'body': 'a'},
    '/body-dict': lambda: {'body': {'b': 1, 'a': [None, True]}}, '/body-list': lambda: {'body': [1, 2]}, '/body-none': lambda: {'body': None},
    '/body-bytes': lambda: {'body': b'ab'}, '/body-int': lambda: {'body': 7}, '/body-empty-dict': lambda: {'body': {}},
    '/dict-headers': lambda: {'body': 'a', 'headers': {'Content-type': 'text/plain', 'X-A': 'b', 'X-N': 5}},
    '/dict-list-headers': lambda: {'body': 'a', 'headers': [('Content-Type', 'text/css'), ('X-A', 'b')]},
    '/json-headers': lambda: {'statusCode': 418, 'body': {'a': 1}, 'headers': {'Content-Type': 'application/problem+json'}},
    '/cookie': lambda: {'body': '', 'headers': {'Set-Cookie': 'a=1; Path=/'}},
    '/cookies': lambda: {'body': '', 'headers': [('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')]},
    '/cookies-tuple': lambda: ('', 200, {'Set-Cookie': ['a=1', 'b=2']}),
    '/location': lambda: {'statusCode': 302, 'headers': {'Location': 'https://example.com/'}},
    '/int': lambda: 7, '/true': lambda: True, '/one': lambda: ('a',), '/four': lambda: ('a', 200, {}, 1), '/none-status': lambda: (None, 200),
    '/raise': lambda: 1 / 0, '/set': lambda: {1}, '/object': object, '/bad-json': lambda: [object()],
}


def handle(event, context):
    if event.path in ANSWERS:
        return ANSWERS[event.path]()
    if event.path == '/header':
        return event.headers['X-None']
    if event.path == '/arg':
        return event.query['none']
    return seen(event, context)
