"""Streams as many bytes as the query says, and counts those of a body."""

piece = bytes(64 << 10)


def handle(req):
    if req.method == "POST":
        return str(len(req.body))
    return pieces(int(req.query))


def pieces(left):
    while left > 0:
        yield piece[:left]
        left -= len(piece)
