"""A request as WSGI has it, for contracts whose handlers get, or return, objects of web frameworks."""


def path_of(req, errors='replace'):
    path = req.path
    if '%' in path or not path.isascii():
        from urllib.parse import unquote_to_bytes
        path = unquote_to_bytes(path.encode('latin-1')).decode('utf-8', errors)
    return path


class Asked:
    """What a handler may ask about a request. Its parts are made when they are first asked for."""

    def __init__(self, req):
        self._req = req

    @Part
    def method(self):
        return self._req.method

    @Part
    def path(self):
        return path_of(self._req)


def environ_of(req):
    host, _, port = req.host.partition(':')
    environ = {
        'REQUEST_METHOD': req.method, 'SCRIPT_NAME': '', 'PATH_INFO': path_of(req, 'surrogateescape').encode('utf-8', 'surrogateescape').decode('latin-1'),
        'QUERY_STRING': req.query, 'REQUEST_URI': req.path + ('?' + req.query if req.query else ''),
        'SERVER_NAME': host or 'localhost', 'SERVER_PORT': port or '80', 'SERVER_PROTOCOL': 'HTTP/1.1',
        'REMOTE_ADDR': req.peer, 'REMOTE_HOST': req.peer,
        'wsgi.version': (1, 0), 'wsgi.url_scheme': req.scheme, 'wsgi.errors': sys.stderr,
        'wsgi.multithread': False, 'wsgi.multiprocess': True, 'wsgi.run_once': False, 'wsgi.input_terminated': True,
    }
    from io import BytesIO
    environ['wsgi.input'] = BytesIO(req.body)
    for name, value in dict.items(req.headers):
        key = name.upper().replace('-', '_')
        environ[key if key in ('CONTENT_TYPE', 'CONTENT_LENGTH') else 'HTTP_' + key] = value
    if req.body:
        environ['CONTENT_LENGTH'] = str(len(req.body))
    return environ
