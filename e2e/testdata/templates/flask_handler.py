"""A handler of python3-flask that has an answer of every kind; the body says which. It does not know Flask."""
ANSWERS = {
    'str': lambda: 'grüß', 'bytes': lambda: b'\x00\xff', 'dict': lambda: {'b': 1, 'a': 'ü'}, 'list': lambda: [1, 'a'], 'none': lambda: None,
    'iterator': lambda: iter(['a', 'b']), 'status': lambda: ('no', 404), 'all': lambda: ({'a': 1}, 201, {'X-A': 'b'}), 'int': lambda: 7,
    'status-code': lambda: {'statusCode': 201}, 'raise': lambda: 1 / 0,
}


def handle(req):
    key = req.decode() if isinstance(req, bytes) and req.isascii() else req
    return ANSWERS[key]() if key in ANSWERS else repr(req)
