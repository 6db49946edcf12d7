package fnpod;

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.regex.Pattern;
import java.util.stream.BaseStream;

/**
 * The Java side of a warm worker: reads request frames from one pipe, calls the handler, writes answer frames. Frames are described in
 * docs/worker-protocol.md, the handler contract in docs/handlers.md.
 */
final class Worker implements Host {
    private static final int REQUEST = 1, DATA = 2, TRAILERS = 3, CANCEL = 4, WINDOW = 5, DRAIN = 7, EXIT = 8, PING = 9;
    private static final int HELLO = 0x11, READY = 0x12, INIT_ERROR = 0x13, RESPONSE = 0x21, ERROR = 0x22, LOG = 0x23, PONG = 0x29, BYE = 0x2F;
    private static final int LANE = 1, MORE = 2;
    private static final int INLINE = 8 << 10, PIECE = 64 << 10, CREDIT = 256 << 10, LIMIT = 1 << 20, MOST_FIELD = 16 << 10;

    private static final byte[] NOTHING = {};
    private static final String TEXT = "content-type\0text/plain; charset=utf-8";
    private static final String BINARY = "content-type\0application/octet-stream";
    private static final String EXPECTED = "a String, byte[], null, Map, Iterable, array, Response, Iterator, Stream or InputStream";
    private static final Pattern TOKEN = Pattern.compile("[!#$%&'*+\\-.^_`|~0-9a-z]+");

    private final Map<String, String> env;
    private int laneIn;
    private int laneOut;
    private FileInputStream in;
    private OutputStream out;
    private String laneFile;
    private MappedByteBuffer lane; // see lane()
    private ByteBuffer read = buffer(PIECE).limit(0);                      // bytes that came and were not taken yet
    private final ByteArrayOutputStream deferred = new ByteArrayOutputStream(); // frames that wait until a request is answered
    private byte[] meta;                                                    // of the frame taken last
    private byte[] body;
    private int kind, flags, number, size;
    private volatile int answering;                                         // id of the request that the handler has; 0: none
    private volatile boolean serving, over;
    private int credit;

    /** The worker's time is over. */
    private static final class Leave extends Error {
        private static final long serialVersionUID = 1;
    }

    /** The parent has no use for the answer any more. */
    private static final class Cancelled extends RuntimeException {
        private static final long serialVersionUID = 1;

        Cancelled() {
            super("the request was cancelled");
        }
    }

    /** The handler returned something that is no answer. */
    private static final class UnusableResult extends RuntimeException {
        private static final long serialVersionUID = 1;

        UnusableResult(String message) {
            super("handler " + message);
        }
    }

    private Worker(Map<String, String> env) {
        this.env = env;
    }

    /** Run by fnpod, with its settings in the environment. */
    public static void main(String[] args) {
        int code = new Worker(System.getenv()).run();
        System.out.flush();
        if (code != 0) {
            Runtime.getRuntime().halt(code);
        }
        System.exit(0);
    }

    private static ByteBuffer buffer(int size) {
        return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    }

    private int run() {
        Loader loader;
        try {
            loader = new Loader(settings(), env.get("FNPOD_WORKER_HANDLER").replaceFirst("(?s).*:", ""), contract(), this);
        } catch (RuntimeException | IOException e) {
            System.err.println("fnpod: this program is started by fnpod as a worker, with protocol 1 (" + e.getMessage() + ")");
            return 1;
        }
        try {
            say(HELLO, 1, "language", "java", "runtime", System.getProperty("java.version"), "pid", "" + ProcessHandle.current().pid(),
                "features", "lane,stream");
            Runtime.getRuntime().addShutdownHook(new Thread(this::ends));
            long start = System.nanoTime();
            try {
                loader.load();
            } catch (Throwable e) {
                over = true;
                sendError(INIT_ERROR, 0, 0, e);
                return 1;
            }
            say(READY, 1, "handler", loader.label(), "init_ms", "" + (System.nanoTime() - start) / 1000000);
            serving = true;
            for (;;) {
                serve(loader, next());
            }
        } catch (Leave e) {
            over = true;
            return 0;
        } catch (Unspeakable e) {
            over = true;
            System.err.println("fnpod worker: " + e.getMessage());
            return 1;
        }
    }

    /** The pipes cannot be trusted any more. */
    private static final class Unspeakable extends Error {
        private static final long serialVersionUID = 1;

        Unspeakable(String message) {
            super(message);
        }
    }

    /** Opens the pipes and returns the handler's file. The variables cannot be taken out of the environment in Java. */
    private String settings() throws IOException {
        String[] versions = setting("PROTOCOL", "\\d+-\\d+", "").split("-");
        if (Integer.parseInt(versions[0]) > 1 || Integer.parseInt(versions[1]) < 1) {
            throw new IllegalArgumentException(String.join("-", versions) + " is asked for");
        }
        String[] fds = setting("FDS", "\\d+,\\d+", "").split(",");
        String[] memory = setting("LANE", "-?\\d+,\\d+,\\d+", "-1,0,0").split(",");
        String handler = setting("HANDLER", "(?s).+:[^:]*", "");
        in = new FileInputStream("/proc/self/fd/" + fds[0]);
        out = new FileOutputStream("/proc/self/fd/" + fds[1]);
        laneIn = Integer.parseInt(memory[1]);
        laneOut = Integer.parseInt(memory[2]);
        laneFile = "/proc/self/fd/" + memory[0];
        return handler.substring(0, handler.lastIndexOf(':'));
    }

    /** The class that calls the handler; empty for a native one. */
    private String contract() {
        switch (setting("CONTRACT", ".*", "native")) {
            case "openfaas-http":
                return "OpenFaaS";
            case "nuclio":
                return "Nuclio";
            default:
                return "";
        }
    }

    private String setting(String name, String pattern, String unset) {
        String value = env.getOrDefault("FNPOD_WORKER_" + name, unset);
        if (!value.matches(pattern)) {
            throw new IllegalArgumentException(name + " is '" + value + "'");
        }
        return value;
    }

    /** The end of the process while the handler works: the request gets an answer, and no other comes. */
    private void ends() {
        int id = answering;
        if (over) {
            return;
        }
        over = true;
        Throwable why = new Exit("the process ends: System.exit or a signal");
        if (!serving) {
            sendError(INIT_ERROR, 0, 0, why);
            System.out.flush();
            Runtime.getRuntime().halt(1);
        } else if (id != 0) {
            ByteBuffer f = error(ERROR, 500, id, why, 16);
            header(f, 0, 0, BYE, 0, 0, 0);
            write(f);
        }
    }

    private static final class Exit extends RuntimeException {
        private static final long serialVersionUID = 1;

        Exit(String message) {
            super(message, null, false, false);
        }
    }

    // Frames in.

    /** Returns the next whole request and deals with everything that comes before it. */
    private Request next() {
        for (;;) {
            take();
            if (kind != REQUEST) {
                control();
                continue;
            }
            byte[] head = meta, whole = body;
            int id = number;
            if ((flags & LANE) != 0) {
                whole = fromLane();
            } else if ((flags & MORE) != 0) {
                try {
                    whole = gather(id, whole);
                } catch (Cancelled e) {
                    sendError(ERROR, 500, id, e);
                    continue;
                } finally {
                    resume();
                }
            }
            answering = id;
            return new Request(head, whole, id);
        }
    }

    /** Reads one frame into the fields. */
    private void take() {
        need(16, false);
        int at = read.position();
        int metaSize = read.getInt(at);
        size = read.getInt(at + 4);
        kind = read.get(at + 8) & 0xff;
        flags = read.get(at + 9);
        number = read.getInt(at + 12);
        int inline = (flags & LANE) != 0 ? 0 : size;
        if (metaSize < 0 || metaSize > LIMIT || inline < 0 || inline > LIMIT) {
            throw new Unspeakable("frame too long: " + Integer.toUnsignedString(metaSize) + " bytes of meta, "
                + Integer.toUnsignedString(inline) + " of body");
        }
        need(16 + metaSize + inline, true);
        read.position(read.position() + 16);
        meta = new byte[metaSize];
        body = inline == 0 ? NOTHING : new byte[inline];
        read.get(meta).get(body);
    }

    /** Reads until there are n bytes. */
    private void need(int n, boolean inside) {
        while (read.remaining() < n) {
            if (read.capacity() - read.position() < n) {
                ByteBuffer old = read;
                read = buffer(Math.max(n, PIECE)).put(old).flip();
            }
            int got;
            try {
                got = in.read(read.array(), read.limit(), read.capacity() - read.limit());
            } catch (IOException e) {
                throw new Unspeakable("request pipe: " + e.getMessage());
            }
            if (got < 0 && (inside || read.hasRemaining())) {
                throw new Unspeakable("request pipe ended inside a frame");
            } else if (got < 0) {
                throw new Leave();
            }
            read.limit(read.limit() + got);
        }
    }

    /** A frame between two requests. What belongs to a request that is answered already came late and is ignored. */
    private void control() {
        switch (kind) {
            case PING:
                pong();
                return;
            case DRAIN:
                over = true;
                say(BYE, 0);
                throw new Leave();
            case EXIT:
                throw new Leave();
            case DATA:
            case TRAILERS:
            case CANCEL:
            case WINDOW:
                return;
            default:
                if (kind < 0x80) {
                    throw new Unspeakable(String.format("unknown frame type 0x%02x", kind));
                }
        }
    }

    /** Collects a body sent in pieces; the parent may send on as pieces are taken. */
    private byte[] gather(int id, byte[] first) {
        ByteArrayOutputStream all = new ByteArrayOutputStream(2 * PIECE);
        all.writeBytes(first);
        int taken = 0;
        for (;;) {
            if (!own(id)) {
                continue;
            }
            if (kind == DATA) {
                all.writeBytes(body);
                taken += body.length;
                if ((flags & MORE) == 0) {
                    return all.toByteArray();
                }
                if (taken >= CREDIT / 2) {
                    ByteBuffer f = buffer(20);
                    header(f, 0, 4, WINDOW, 0, 0, id);
                    write(f.putInt(taken));
                    taken = 0;
                }
            } else if (kind == TRAILERS) {
                return all.toByteArray();
            }
        }
    }

    /** Reads one frame and tells whether it belongs to the request: others wait until that is answered. */
    private boolean own(int id) {
        take();
        if (kind == PING) {
            pong();
        } else if (number != id) {
            ByteBuffer f = buffer(16 + meta.length + body.length);
            header(f, meta.length, size, kind, flags, 0, number);
            deferred.writeBytes(f.put(meta).put(body).array());
        } else if (kind == CANCEL) {
            throw new Cancelled();
        } else if (kind == DATA || kind == TRAILERS || kind == WINDOW) {
            return true;
        } else if (kind < 0x80) {
            throw new Unspeakable(String.format("unexpected frame type 0x%02x in request %d", kind, id));
        }
        return false;
    }

    private void resume() {
        if (deferred.size() > 0) {
            ByteBuffer all = buffer(Math.max(PIECE, deferred.size() + read.remaining()));
            read = all.put(deferred.toByteArray()).put(read).flip();
            deferred.reset();
        }
    }

    private void pong() {
        long kib = 0;
        try (InputStream status = new FileInputStream("/proc/self/status")) {
            for (String line : new String(status.readAllBytes(), StandardCharsets.ISO_8859_1).split("\n")) {
                kib = line.startsWith("VmRSS:") ? Long.parseLong(line.replaceAll("[^0-9]", "")) : kib;
            }
        } catch (IOException e) {
            kib = 0; // nobody knows
        }
        say(PONG, 0, "rss", "" + kib * 1024, "in_flight", answering == 0 ? "0" : "1");
    }

    private byte[] fromLane() {
        if (size < 0 || size > laneIn) {
            throw new Unspeakable("body of " + Integer.toUnsignedString(size) + " bytes in a lane of " + laneIn);
        }
        byte[] b = new byte[size];
        lane(0).get(b);
        return b;
    }

    /** The shared memory, at a position; mapped when it is first used. */
    private MappedByteBuffer lane(int at) {
        if (lane == null) {
            try (RandomAccessFile file = new RandomAccessFile(laneFile, "rw")) {
                lane = file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, (long) laneIn + laneOut);
            } catch (IOException e) {
                throw new Unspeakable("lane: " + e.getMessage());
            }
        }
        lane.position(at);
        return lane;
    }

    // Frames out.

    private static void header(ByteBuffer f, int meta, int body, int kind, int flags, int code, int id) {
        f.putInt(meta).putInt(body).put((byte) kind).put((byte) flags).putShort((short) code).putInt(id);
    }

    private synchronized void write(ByteBuffer f) {
        try {
            out.write(f.array(), 0, f.position());
        } catch (IOException e) {
            throw new Unspeakable("answer pipe: " + e.getMessage());
        }
    }

    private void say(int kind, int code, String... pairs) {
        byte[] b = String.join("\0", pairs).getBytes(StandardCharsets.UTF_8);
        ByteBuffer f = buffer(16 + b.length);
        header(f, b.length, 0, kind, 0, code, 0);
        write(f.put(b));
    }

    // What is there for contracts.

    @Override
    public String setting(String name) {
        return env.get("FNPOD_WORKER_" + name);
    }

    @Override
    public void log(int level, String message, String... pairs) {
        for (int i = 0; i < pairs.length; i++) {
            pairs[i] = pairs[i].replace("\0", "\\0");
            pairs[i] = pairs[i].substring(0, Math.min(pairs[i].length(), MOST_FIELD));
        }
        byte[] m = String.join("\0", pairs).getBytes(StandardCharsets.UTF_8);
        byte[] b = message.getBytes(StandardCharsets.UTF_8);
        ByteBuffer f = buffer(16 + m.length + Math.min(b.length, PIECE));
        header(f, m.length, Math.min(b.length, PIECE), LOG, 0, level, answering);
        write(f.put(m).put(b, 0, Math.min(b.length, PIECE)));
    }

    @Override
    public String json(Object value) {
        try {
            return Json.encode(value);
        } catch (IllegalArgumentException e) {
            return Json.encode(String.valueOf(value));
        }
    }

    @Override
    public Object parse(String json) {
        return Json.parse(json);
    }

    // Answers.

    private void serve(Loader loader, Request req) {
        int id = answering;
        try {
            Object result = loader.call(req);
            answer(id, result instanceof Future ? settled((Future<?>) result) : result);
        } catch (Leave | Unspeakable e) {
            throw e;
        } catch (Throwable e) {
            sendError(ERROR, 500, id, e);
        } finally {
            answering = 0;
            resume();
            System.out.flush();
            System.err.flush();
        }
    }

    private static Object settled(Future<?> f) throws Throwable {
        try {
            return f.get();
        } catch (ExecutionException e) {
            throw e.getCause();
        }
    }

    /** Sends whatever a handler may return. */
    private void answer(int id, Object result) throws Exception {
        int status = result == null ? 204 : 200;
        String pairs = "";
        if (result instanceof Response) {
            Response r = (Response) result;
            result = r.body;
            status = r.status;
            pairs = pairs(r);
        }
        if (status < 200 || status > 599) {
            throw new UnusableResult("returned status " + status + "; expected 200 to 599");
        }
        if (result instanceof BaseStream) {
            result = ((BaseStream<?, ?>) result).iterator();
        }
        if (result == null) {
            send(id, status, meta(pairs, ""), NOTHING);
        } else if (result instanceof CharSequence) {
            send(id, status, meta(pairs, TEXT), result.toString().getBytes(StandardCharsets.UTF_8));
        } else if (result instanceof byte[]) {
            send(id, status, meta(pairs, BINARY), (byte[]) result);
        } else if (result instanceof Map || result instanceof Iterable || result instanceof Object[]) {
            send(id, status, meta(pairs, "content-type\0application/json"), encoded(result));
        } else if (result instanceof Iterator) {
            stream(id, status, pairs, (Iterator<?>) result);
        } else if (result instanceof InputStream) {
            try (InputStream file = (InputStream) result) {
                stream(id, status, pairs, pieces(file));
            }
        } else {
            throw new UnusableResult("returned " + a(result) + "; expected " + EXPECTED);
        }
    }

    private static byte[] encoded(Object value) {
        try {
            return Json.encode(value).getBytes(StandardCharsets.UTF_8);
        } catch (IllegalArgumentException e) {
            throw new UnusableResult("returned " + a(value) + " that is not JSON: " + e.getMessage());
        }
    }

    private static Iterator<byte[]> pieces(InputStream file) {
        return new Iterator<>() {
            private byte[] piece;

            @Override
            public boolean hasNext() {
                if (piece == null) {
                    byte[] b = new byte[PIECE];
                    try {
                        piece = Arrays.copyOf(b, Math.max(file.read(b), 0));
                    } catch (IOException e) {
                        throw new java.io.UncheckedIOException(e);
                    }
                }
                return piece.length > 0;
            }

            @Override
            public byte[] next() {
                byte[] p = piece;
                piece = null;
                return p;
            }
        };
    }

    /** Returns checked name, value, name, value. */
    private static String pairs(Response r) {
        StringBuilder pairs = new StringBuilder();
        for (Object[] h : r.headers) {
            String name = String.valueOf(h[0]).toLowerCase(Locale.ROOT);
            if (!TOKEN.matcher(name).matches()) {
                throw new UnusableResult("returned a header with the name '" + name + "'");
            }
            if (!(h[1] instanceof CharSequence || h[1] instanceof Number)) {
                throw new UnusableResult("returned " + a(h[1]) + " as header value of " + name + "; expected a String");
            }
            String value = h[1].toString();
            for (char c : value.toCharArray()) {
                if (c == '\r' || c == '\n' || c == 0) {
                    throw new UnusableResult("returned a line break or NUL in the header " + name);
                }
                if (c > 0xff) {
                    throw new UnusableResult("returned a header value of " + name + " with characters beyond latin-1");
                }
            }
            pairs.append(pairs.length() > 0 ? "\0" : "").append(name).append('\0').append(value);
        }
        return pairs.toString();
    }

    /** Joins header pairs; the handler's content type wins over the implied one. */
    private static byte[] meta(String pairs, String implied) {
        String all = pairs;
        if (pairs.isEmpty()) {
            all = implied;
        } else if (!implied.isEmpty() && value(pairs, "content-type") == null) {
            all = implied + "\0" + pairs;
        }
        if (all.length() > LIMIT) {
            throw new UnusableResult("returned " + all.length() + " bytes of headers; the limit is " + LIMIT);
        }
        return all.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static String value(String pairs, String name) {
        String[] all = pairs.split("\0", -1);
        for (int i = 0; i + 1 < all.length; i += 2) {
            if (all[i].equals(name)) {
                return all[i + 1];
            }
        }
        return null;
    }

    private void send(int id, int status, byte[] meta, byte[] body) {
        if (body.length <= INLINE) {
            ByteBuffer f = buffer(16 + meta.length + body.length);
            header(f, meta.length, body.length, RESPONSE, 0, status, id);
            write(f.put(meta).put(body));
        } else if (body.length <= laneOut) {
            lane(laneIn).put(body);
            ByteBuffer f = buffer(16 + meta.length);
            header(f, meta.length, body.length, RESPONSE, LANE, status, id);
            write(f.put(meta));
        } else {
            String pairs = new String(meta, StandardCharsets.ISO_8859_1);
            if (value(pairs, "content-length") == null) {
                pairs += (pairs.isEmpty() ? "" : "\0") + "content-length\0" + body.length;
            }
            credit = CREDIT;
            head(id, status, pairs.getBytes(StandardCharsets.ISO_8859_1));
            spend(id, body);
            finish(id);
        }
    }

    private void head(int id, int status, byte[] meta) {
        ByteBuffer f = buffer(16 + meta.length);
        header(f, meta.length, 0, RESPONSE, MORE, status, id);
        write(f.put(meta));
    }

    private void finish(int id) {
        ByteBuffer f = buffer(16);
        header(f, 0, 0, DATA, 0, 0, id);
        write(f);
    }

    /** Sends data in pieces and waits for the parent where it must. */
    private void spend(int id, byte[] data) {
        for (int at = 0; at < data.length;) {
            while (credit <= 0) {
                await(id);
            }
            int n = Math.min(Math.min(data.length - at, PIECE), credit);
            ByteBuffer f = buffer(16 + n);
            header(f, 0, n, DATA, MORE, 0, id);
            write(f.put(data, at, n));
            at += n;
            credit -= n;
        }
    }

    private void await(int id) {
        if (own(id) && kind == WINDOW) {
            if (body.length != 4) {
                throw new Unspeakable("WINDOW with " + body.length + " bytes");
            }
            credit += ByteBuffer.wrap(body).order(ByteOrder.LITTLE_ENDIAN).getInt();
        }
    }

    private boolean pending() {
        try {
            return read.hasRemaining() || in.available() > 0;
        } catch (IOException e) {
            throw new Unspeakable("pipe: " + e.getMessage());
        }
    }

    /** Sends the items of an iterator as they come. The head goes with the first, so that an early error is a 500. */
    private void stream(int id, int status, String pairs, Iterator<?> items) {
        boolean head = true;
        credit = CREDIT;
        while (items.hasNext()) {
            Object item = items.next();
            if (!(item instanceof CharSequence || item instanceof byte[])) {
                throw new UnusableResult("yielded " + a(item) + "; expected a String or byte[]");
            }
            if (head) {
                head(id, status, meta(pairs, item instanceof byte[] ? BINARY : TEXT));
                head = false;
            }
            spend(id, item instanceof byte[] ? (byte[]) item : item.toString().getBytes(StandardCharsets.UTF_8));
            while (pending()) {
                await(id);
            }
        }
        if (head) {
            byte[] meta = meta(pairs, "");
            ByteBuffer f = buffer(16 + meta.length);
            header(f, meta.length, 0, RESPONSE, 0, status, id);
            write(f.put(meta));
            return;
        }
        finish(id);
    }

    // Errors.

    private void sendError(int kind, int code, int id, Throwable e) {
        write(error(kind, code, id, e, 0));
    }

    /** A frame that tells what was thrown, with room for more behind it. */
    private static ByteBuffer error(int kind, int code, int id, Throwable e, int room) {
        boolean own = e instanceof UnusableResult || e instanceof Cancelled || e instanceof Exit || e instanceof Loader.Uncompiled;
        String type = e instanceof Cancelled ? "cancelled" : own ? e.getClass().getSimpleName() : e.getClass().getName();
        String message;
        String trace;
        try {
            message = String.valueOf(e.getMessage());
            trace = own ? type + ": " + message + "\n" : trace(e);
        } catch (Throwable e2) {
            message = "(its message failed)";
            trace = type + "\n";
        }
        byte[] b = trace.getBytes(StandardCharsets.UTF_8);
        if (b.length > INLINE) {
            b = Arrays.copyOf(b, INLINE);
        }
        message = message.length() > 1000 ? message.substring(0, 1000) + "…" : message;
        byte[] meta = ("type\0" + type + "\0message\0" + message.replace("\0", "\\0")).getBytes(StandardCharsets.UTF_8);
        ByteBuffer f = buffer(16 + meta.length + b.length + room);
        header(f, meta.length, b.length, kind, 0, code, id);
        return f.put(meta).put(b);
    }

    /** The stack without the frames of the wrapper and of reflection. */
    private static String trace(Throwable e) {
        StringBuilder text = new StringBuilder();
        Set<Throwable> seen = new LinkedHashSet<>();
        for (; e != null && seen.size() < 8 && seen.add(e); e = e.getCause()) {
            text.append(seen.size() > 1 ? "Caused by: " : "").append(e).append('\n');
            for (StackTraceElement at : e.getStackTrace()) {
                if (at.getClassName().startsWith("fnpod.Loader") || at.getClassName().startsWith("fnpod.contract.")) {
                    break;
                }
                text.append("\tat ").append(at).append('\n');
                if (text.length() > INLINE) {
                    return text.toString();
                }
            }
        }
        return text.toString().replaceAll("\tat (java\\.base/)?(jdk\\.internal\\.reflect|java\\.lang\\.reflect|fnpod\\.Beside)\\..*\n", "");
    }

    /** Names the type of a value with its article. */
    private static String a(Object value) {
        if (value == null) {
            return "null";
        }
        String name = value.getClass().getTypeName().replaceFirst("^java\\.lang\\.", "");
        return ("AEIOUaeiou".indexOf(name.charAt(0)) >= 0 ? "an " : "a ") + name;
    }
}
