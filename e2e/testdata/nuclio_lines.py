#!/usr/bin/env python3
"""Takes the place of ruby, java and dotnet: a wrapper that reads lines of JSON. It answers with the event and its arguments."""
import json, os, socket, sys

args = sys.argv[1:]
if '-port' in args:
    events = socket.create_connection(('localhost', int(args[args.index('-port') + 1])))
else:
    events = socket.socket(socket.AF_UNIX)
    events.connect(args[args.index('--socket-path') + 1] if '--socket-path' in args else args[1])
for line in events.makefile():
    event = json.loads(line)
    answer = {'event': event, 'args': args, 'name': os.environ['NUCLIO_FUNCTION_NAME'], 'program': os.path.basename(sys.argv[0])}
    reply = {'status_code': 200, 'content_type': 'application/json', 'headers': {}, 'body': json.dumps(answer), 'body_encoding': 'text'}
    events.sendall(b'l{"level": "debug", "message": "Response is"}\nr' + json.dumps(reply).encode() + b'\nm{"duration": 5}\n')
