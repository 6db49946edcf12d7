"""Ways to fail, by path."""
import os
import signal
import subprocess
import sys


def limit():
    subprocess.run(['prlimit', '--pid', str(os.getpid()), '--data=400000000'], check=True)


def handle(req):
    path = req.path
    if path == '/raise':
        raise ValueError('the secret reason')
    if path == '/exit':
        sys.exit(3)
    if path == '/_exit':
        os._exit(3)
    if path == '/bomb':
        subprocess.run(['sh', 'bomb.sh'], check=True)
    if path == '/segv':
        os.kill(os.getpid(), signal.SIGSEGV)
    if path == '/kill':
        os.kill(os.getpid(), signal.SIGKILL)
    if path == '/loop':
        while True:
            pass
    if path == '/stdout':
        os.close(1)
    if path == '/garbage':
        os.write(4, b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    if path == '/log':
        os.write(1, b'x' * 1000000 + b'\n')
    if path == '/hog':
        limit()
        all = []
        while True:
            all.append(bytes(10000000))
    return 'hello'
