"""The Python side of a zygote: a process that has compiled a script and imported what it names, and forks for each request.
One that is resident has run its script, and a child calls the function request of it.

Commands are messages on descriptor 3. "fork MARK" comes with four descriptors and is answered with the child's pid: the
child waits on the first one for the variables of its request, runs the script as __main__ with the other three as its
standard streams, and says its exit code on the first. "how PID" is answered with how a child ended, and "end PID" collects it.
"""
import sys

if sys.version_info < (3, 8):
    sys.stderr.write('fnpod: a zygote needs Python 3.8\n')
    sys.exit(90)

import atexit
import gc
import os
from _socket import CMSG_LEN, SCM_RIGHTS, SOL_SOCKET, socket

CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC
ONLY_AST = 0x400      # ast.PyCF_ONLY_AST, without importing ast


def preload(tree):
    """Imports what the import statements outside of functions and conditions name. Failures are for the script to meet."""
    for node in tree.body:
        try:
            kind = type(node).__name__
            if kind == 'Import':
                for name in node.names:
                    __import__(name.name)
            elif kind == 'ImportFrom' and not node.level and node.module != '__future__':
                __import__(node.module, None, None, [name.name for name in node.names])
        except BaseException:
            pass


def prepare(wanted, kind, script):
    """Compiles the script and returns its code and the names that __main__ has before it runs."""
    own = sys.modules['__main__'].__dict__
    names = {name: own[name] for name in ('__builtins__', '__doc__', '__package__', '__spec__') if name in own}
    names['__doc__'] = names['__spec__'] = None
    if '__annotations__' in own:
        names['__annotations__'] = {}
    isolated = sys.flags.isolated or getattr(sys.flags, 'safe_path', False)
    if kind == 'code':
        source, file, folder = script, '<string>', ''
        names['__loader__'] = sys.modules['_frozen_importlib'].BuiltinImporter
    else:
        with open(script, 'rb') as f:
            source = f.read()
        file = os.path.abspath(script) if sys.version_info >= (3, 9) else script
        folder = os.path.dirname(os.path.realpath(script))
        names['__file__'], names['__cached__'] = file, None
        names['__loader__'] = sys.modules['_frozen_importlib_external'].SourceFileLoader('__main__', file)
    if not isolated:
        sys.path[0] = folder
    tree = compile(source, file, 'exec', ONLY_AST, True)
    code = compile(tree, file, 'exec', 0, True)
    if wanted == 'preload':
        preload(tree)
    if wanted == 'resident':  # its module is made once: to copy it in each child would touch all that it has
        module = type(sys)('__main__')
        module.__dict__.update(names, __name__='__zygote__')
        names = module.__dict__
        exec(code, names)
        names['__name__'] = '__main__'
        sys.modules['__main__'] = module
    return code, names


def place_of_mark():
    """Where in memory the environment entry lies by which fnpod knows the descendants of a process; 0 if nobody tells."""
    try:
        with open('/proc/self/stat', 'rb') as f:
            start = int(f.read().rpartition(b')')[2].split()[47])
        with open('/proc/self/environ', 'rb') as f:
            at = (b'\0' + f.read()).find(b'\0FNPOD_CHILD=')
        return start + at if at >= 0 else 0
    except (OSError, IndexError, ValueError):
        return 0


def mark(place, text):
    """Writes our own mark where the zygote's was: a process that the script forks, and does not exec, shows it."""
    try:
        memory = os.open('/proc/self/mem', os.O_WRONLY)
        try:
            os.pwrite(memory, text, place)
        finally:
            os.close(memory)
    except OSError:
        pass


def child(files, place, text, code, names, resident):
    """Waits for a request and runs the script for it. It does not return."""
    os.close(3)
    os.setpgid(0, 0)
    if place:
        mark(place, text)
    name, _, value = text.partition(b'=')
    os.environb[name] = value
    for i in 1, 2, 3:
        os.dup2(files[i], i - 1)
    for fd in files[1:]:
        os.close(fd)
    variables = os.read(files[0], 1 << 18)
    if not variables:
        os._exit(0)
    for entry in variables.split(b'\0'):
        name, _, value = entry.partition(b'=')
        if name:
            os.environb[name] = value
    module = None
    if not resident:
        module = type(sys)('__main__')
        module.__dict__.clear()
        module.__dict__.update(names, __name__='__main__')
        sys.modules['__main__'] = module
    pid, status, interrupted = os.getpid(), files[0], False
    try:
        if resident:
            names['request']()
        else:
            exec(code, module.__dict__)
        result = 0
    except SystemExit as leave:
        result = leave.code
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        error = error.with_traceback(error.__traceback__.tb_next)
        sys.excepthook(type(error), error, error.__traceback__)
        result = 1
        error = None
    end(module, pid, status, result, interrupted)


def end(module, pid, status, result, interrupted):
    """Ends as the interpreter does: threads, exit functions, buffers, what the script holds. There is no module if that is what all have."""
    if result is None:
        result = 0
    elif not isinstance(result, int):
        flush(sys.stdout)
        if sys.stderr is not None:
            sys.stderr.write('%s\n' % (result,))
        result = 1
    if 'threading' in sys.modules:
        sys.modules['threading']._shutdown()
    try:
        atexit._run_exitfuncs()
    except BaseException:
        pass  # it has been printed
    bad = flush(sys.stdout)
    flush(sys.stderr)
    if module is not None:
        module.__dict__.clear()  # files that it has not closed are flushed
        gc.collect()
        bad = bad or flush(sys.stdout)
        flush(sys.stderr)
    if bad:
        result = result or 120
    if interrupted:
        from _signal import SIG_DFL, SIGINT, signal
        signal(SIGINT, SIG_DFL)
        os.kill(pid, SIGINT)
    for fd in 0, 1, 2:
        try:
            os.close(fd)
        except OSError:
            pass
    if os.getpid() == pid:  # else it was forked by the script
        os.write(status, bytes([result & 0xff]))
    os._exit(result & 0xff)


def flush(stream):
    """Reports whether a stream that is open could not be flushed."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except BaseException as error:
        if stream is not sys.stderr:
            where = 'on flushing sys.stdout:' if sys.version_info >= (3, 13) else 'in: %r' % stream
            sys.stderr.write('Exception ignored %s\n%s: %s\n' % (where, type(error).__name__, error))
        return True
    return False


def how(pid):
    """How a child ended, which stays a zombie."""
    try:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except OSError:  # an import ignores SIGCHLD
        info = None
    if info is None:
        return b'?'
    return b'%s %d' % (b'exit' if info.si_code == os.CLD_EXITED else b'signal', info.si_status)


def main():
    control = socket(fileno=3)
    for fd in 3, 4:
        os.set_inheritable(fd, False)
    _, wanted, _, _, kind, script = sys.argv[:6]
    arguments = sys.argv[6:]
    threads = len(os.listdir('/proc/self/task'))
    sys.argv[:] = [script if kind == 'file' else '-c'] + arguments
    resident = wanted == 'resident'
    try:
        code, names = prepare(wanted, kind, script)
    except (OSError, SyntaxError) as error:  # each request's process will say it, too
        if resident:
            raise
        sys.excepthook(type(error), error.with_traceback(None), None)
        sys.exit(1)
    place = place_of_mark()
    os.close(4)
    gc.collect()
    gc.freeze()
    for stream in sys.stdout, sys.stderr:
        flush(stream)
    control.send(b'ready %d' % threads)
    while True:
        command, rights, _, _ = control.recvmsg(4096, CMSG_LEN(16), CLOEXEC)
        word, _, text = command.partition(b' ')
        if word == b'fork':
            files = [int.from_bytes(rights[0][2][i:i + 4], sys.byteorder) for i in range(0, 16, 4)]
            try:
                pid = os.fork()
            except OSError as error:
                pid = -error.errno
            if pid == 0:
                child(files, place, text, code, names, resident)
            if pid > 0:
                try:
                    os.setpgid(pid, pid)
                except OSError:
                    pass
            for fd in files:
                os.close(fd)
            control.send(b'%d' % pid)
        elif word == b'how':
            control.send(how(int(text)))
        elif word == b'end':
            try:
                os.waitpid(int(text), 0)
            except OSError:
                pass
        else:
            os._exit(0)  # fnpod has ended


main()
