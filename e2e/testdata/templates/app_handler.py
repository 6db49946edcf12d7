"""A handler that uses Flask itself; for both templates of Python."""
import io

from flask import Response, abort, after_this_request, current_app, g, jsonify, make_response, redirect, request, send_file, session, stream_with_context


def seen():
    g.seen = request.args.get('a')
    return jsonify(path=request.path, method=request.method, a=g.seen, all=request.args.getlist('a'), form=request.form.to_dict(), json=request.get_json(silent=True),
                   body=request.get_data().decode('latin-1'), type=request.content_type, cookies=request.cookies, name=current_app.name != '')


def with_header():
    @after_this_request
    def add(response):
        response.headers['X-After'] = 'yes'
        return response
    return 'a'


def cookie():
    response = make_response('cookie', 203)
    response.set_cookie('a', '1')
    response.set_cookie('b', '2', httponly=True)
    return response


def stream():
    def items():
        yield request.path
        yield 'b'
    return Response(stream_with_context(items()), mimetype='text/plain')


ANSWERS = {
    '/seen': seen, '/after': with_header, '/cookie': cookie, '/stream': stream,
    '/abort': lambda: abort(404), '/abort-text': lambda: abort(403, 'not you'), '/abort-response': lambda: abort(Response('own', 402)),
    '/redirect': lambda: redirect('/elsewhere'), '/response': lambda: Response('r', 202, {'X-A': 'b'}, mimetype='text/csv'),
    '/response-status': lambda: (Response('r', 202), 203, {'X-B': 'c'}), '/file': lambda: send_file(io.BytesIO(b'0123456789'), mimetype='text/x-a', download_name='a.txt', as_attachment=True),
    '/large': lambda: Response(b'x' * 3_000_000, mimetype='application/x-large'),
    '/none': lambda: None, '/raise': lambda: 1 / 0, '/session': lambda: str(session.get('a')),
}


def answer():
    return ANSWERS.get(request.path, seen)()


def handle(*args):
    return answer()
