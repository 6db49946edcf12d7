"""What the classic Python template of OpenFaaS starts for each request. Written to the contract."""
import sys

from function import handler

answer = handler.handle(sys.stdin.read())
if answer is not None:
    print(answer)
