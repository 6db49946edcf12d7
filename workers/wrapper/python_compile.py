"""Compiles the Python worker: its source is the file of descriptor 6, and what an interpreter of the same version runs in its place
goes to descriptor 3. Nothing else is read, and no code of the function's or of its packages is run.
"""
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from marshal import dumps

if sys.implementation.name != 'cpython':
    sys.exit('no other interpreter is known to tell what is compiled by its first bytes')


def compiled(source):
    code = compile(source, '<fnpod>', 'exec', 0, True)
    # The parts for later are texts that begin as programs do.
    return code.replace(co_consts=tuple(
        compiled(c) if isinstance(c, str) and c.startswith('"""') else c for c in code.co_consts))


with open('/proc/self/fd/6', 'rb') as f:
    code = compiled(f.read())
with open(3, 'wb') as f:
    f.write(MAGIC_NUMBER + bytes(12) + dumps(code))
