"""What a Python worker needs for async handlers: several requests at once. Compiled for them alone, into the namespace of python.py."""


class Call:
    """A request on its way through an async worker."""

    __slots__ = ('number', 'req', 'parts', 'taken', 'left', 'task', 'begun', 'over', 'waiter')

    def __init__(self, number, req):
        self.number = number
        self.req = req
        self.parts = None   # of a body that is still coming
        self.taken = 0
        self.left = CREDIT  # DATA bytes we may send
        self.task = None
        self.begun = False
        self.over = False   # the answer was sent to its end
        self.waiter = None  # a future, while the answer waits for credit


class Mux:
    """Runs an async handler: requests by id on one event loop, pipes without blocking."""

    def __init__(self, handle, limit):
        import asyncio
        global send
        self.asyncio = asyncio
        self.handle = handle
        self.limit = limit
        self.loop = event_loop()
        self.calls = {}
        self.rest = REST
        self.unsent = []
        self.blocked = False  # the pipe is full
        self.since = 0.0      # when the first of unsent was
        self.leaving = None  # DRAIN, EXIT or EOF
        self.eager = {'eager_start': True} if sys.version_info >= (3, 12) else {}
        send = self.send
        os.set_blocking(IN, False)
        os.set_blocking(OUT, False)

    def run(self):
        self.loop.add_reader(IN, self.readable)
        try:
            self.loop.run_forever()
        finally:
            self.loop.remove_reader(IN)
            self.loop.remove_writer(OUT)
        os.set_blocking(OUT, True)
        for data in self.unsent:
            finish(data, 0)
        self.unsent = []
        self.blocked = False
        self.end()
        if self.leaving == DRAIN:
            self.send(pack(0, 0, BYE, 0, 0, 0))

    def end(self):
        """Cancels what the handler left running, as asyncio.run does."""
        tasks = self.asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(self.asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    # Frames in.

    def readable(self):
        try:
            data = os.read(IN, 65536)
        except BlockingIOError:
            return
        if not data:
            if self.rest:
                die('request pipe ended inside a frame')
            return self.leave('EOF')
        data = self.rest + data if self.rest else data
        at = 0
        while len(data) - at >= 16:
            meta, body, kind, flags, _, number = unpack(data, at)
            stop = at + size_of(meta, body, flags)
            if stop > len(data):
                break
            self.take(kind, flags, number, data[at:stop], 16 + meta, body)
            at = stop
        self.rest = data[at:]

    def take(self, kind, flags, number, raw, end, size):
        call = self.calls.get(number)
        if kind == REQUEST:
            if call:
                die('request %d is there already' % number)
            call = self.calls[number] = Call(number, Request(raw, end, time(), number))
            if flags & LANE:
                call.req.body = from_lane(size)
            elif flags & MORE:
                call.parts = [raw[end:]]
                return
            self.start(call)
        elif kind in (DATA, TRAILERS):
            if call and call.parts is not None:
                self.more_body(call, kind, flags, raw[end:])
        elif kind == CANCEL:
            self.cancel(call)
        elif kind == WINDOW:
            if call:
                call.left += granted(raw[end:])
                wake(call)
        elif kind == PING:
            pong(len(self.calls))
        elif kind in (DRAIN, EXIT):
            self.leave(kind)
        elif kind < 0x80:
            die('unknown frame type 0x%02x' % kind)

    def more_body(self, call, kind, flags, data):
        if kind == DATA:
            call.parts.append(data)
            call.taken += len(data)
            if flags & MORE:
                if call.taken >= CREDIT // 2:
                    window(call.number, call.taken)
                    call.taken = 0
                return
        call.req.body = b''.join(call.parts)
        call.parts = None
        self.start(call)

    def cancel(self, call):
        if not call or call.over:
            return
        if call.task:
            call.task.cancel()
        if not call.begun:  # then nothing of it runs that could answer
            fail(call.number, Cancelled('the request was cancelled'))
            self.done(call)

    def leave(self, why):
        """No more requests; ends the loop when the last one in flight is answered."""
        self.leaving = self.leaving or why
        if why == 'EOF':
            self.loop.remove_reader(IN)
            for call in list(self.calls.values()):
                if call.task is None or call.waiter:  # what it waits for cannot come any more
                    self.cancel(call)
        if not self.calls:
            self.loop.stop()

    # Answers.

    def start(self, call):
        task = self.asyncio.Task(self.answer(call), loop=self.loop, **self.eager)
        if not task.done():
            call.task = task

    async def answer(self, call):
        number, call.begun = call.number, True
        try:
            result = self.handle(call.req)
            if hasattr(result, '__await__'):
                result = await result
            status, meta, body = render(result)
            if type(body) is not bytes:
                await self.stream(call, status, meta, body)
            elif len(body) <= INLINE or self.limit == 1 and len(body) <= LANE_OUT:
                answer_bytes(number, status, meta, body)
            else:
                send(more(number, status, sized(meta, len(body))))
                await self.spend(call, body)
                send(pack(0, 0, DATA, 0, 0, number))
        except self.asyncio.CancelledError:
            if not call.over:
                fail(number, Cancelled('the request was cancelled'))
        except BaseException as error:
            if call.over:  # it can reach nobody but the log
                complain(error)
            else:
                fail(number, error)
        finally:
            self.done(call)

    def done(self, call):
        self.calls.pop(call.number, None)
        if self.leaving and not self.calls:
            self.loop.stop()

    async def stream(self, call, status, pairs, items):
        head = True
        try:
            while True:
                try:
                    item = await items.__anext__() if hasattr(items, '__anext__') else next(items)
                except (StopIteration, StopAsyncIteration):
                    break
                data, default = piece(item)
                ahead = more(call.number, status, meta_of(pairs, default)) if head else b''
                head = False
                if call.left >= len(data) <= PIECE:
                    if data or ahead:
                        call.left -= len(data)
                        send(ahead, pack(0, len(data), DATA, MORE, 0, call.number) + data if data else b'')
                else:
                    send(ahead)
                    await self.spend(call, data)
                if not hasattr(items, '__anext__'):
                    await self.asyncio.sleep(0)
            if head:
                meta = meta_of(pairs, b'')
                send(pack(len(meta), 0, RESPONSE, 0, status, call.number), meta)
            else:
                send(pack(0, 0, DATA, 0, 0, call.number))
            call.over = True
        finally:
            if hasattr(items, 'aclose'):
                await items.aclose()
            elif hasattr(items, 'close'):
                items.close()

    async def spend(self, call, data):
        """Sends data in pieces and waits for the parent where it must."""
        data = memoryview(data)
        while data:
            while call.left <= 0:
                if self.leaving == 'EOF':
                    raise Cancelled('the request was cancelled')
                call.waiter = self.loop.create_future()
                try:
                    await call.waiter
                finally:
                    call.waiter = None
            n = min(len(data), PIECE, call.left)
            call.left -= n
            send(pack(0, n, DATA, MORE, 0, call.number), data[:n])
            data = data[n:]

    def send(self, *frame):
        """Sends frames in order without waiting. What may pile up is bounded by the credit of each request.

        While other requests are in flight, which may be about to answer too, frames of one turn of the event loop are one
        write, if they come within 50 us.
        """
        if self.blocked:
            self.unsent += frame
        elif len(self.calls) < 2:
            self.unsent += frame
            self.flush()
        elif not self.unsent:
            self.unsent += frame
            self.since = monotonic()
            self.loop.call_soon(self.flush)
        else:
            self.unsent += frame
            if monotonic() - self.since > 0.00005:
                self.flush()

    def flush(self):
        if self.blocked or not self.unsent:
            return
        data = b''.join(self.unsent)
        self.unsent.clear()
        try:
            data = data[os.write(OUT, data):]
        except BlockingIOError:
            pass
        if data:
            self.unsent.append(data)
            self.blocked = True
            self.loop.add_writer(OUT, self.writable)

    def writable(self):
        self.loop.remove_writer(OUT)
        self.blocked = False
        self.flush()


def wake(call):
    if call.waiter and not call.waiter.done():
        call.waiter.set_result(None)
