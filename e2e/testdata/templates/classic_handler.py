"""A handler of the classic template of Python; the first word of its text says what it does."""
import os
import subprocess
import sys


def handle(req):
    what = req.partition(' ')[0]
    if what == 'env':
        return sorted((k, v) for k, v in os.environ.items() if k.startswith('Http_') and k not in ('Http_Host', 'Http_Accept_Encoding', 'Http_X_Request_Id'))
    if what == 'print':
        print('printed', end=';')
        sys.stdout.buffer.write(b'')
        print('log', file=sys.stderr)
        return 5
    if what == 'none':
        return None
    if what == 'empty':
        return ''
    if what == 'child':
        subprocess.run(['echo', 'of a child'])
    if what == 'exit':
        print('so far')
        sys.exit(int(req.partition(' ')[2]))
    if what == 'raise':
        raise ValueError(req)
    if what == 'html':
        return '<!DOCTYPE html><p>'
    if what == 'binary':
        sys.stdout.buffer.write(b'\x00\x01\xff')
        return None
    if what == 'set':
        os.environ['Http_Own'] = 'x'
        os.chdir('/')
    return '%r %s %s' % (req, os.path.basename(os.getcwd()) != '', sys.stdin.read() == '')
